"""The one law of portraits: of seeds, and of a generator's codes, as a function of their direction alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sdic.errors import ConfigError
from sdic.portraits import PortraitParams, params_to_vector, sample_params, specs_of, vector_layout
from sdic.portraits.law import COORDINATES, IDENTITY_COORDINATES, portrait_at, portrait_of
from sdic.portraits.params import HAIR_STYLES

COUNT = 4000


@pytest.fixture(scope="module")
def drawn() -> PortraitParams:
    return sample_params(range(50_000, 50_000 + COUNT))


@pytest.fixture(scope="module")
def vectors(drawn: PortraitParams) -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.randn(COUNT, 128, generator=torch.Generator().manual_seed(5))
    return params_to_vector(portrait_of(z)), params_to_vector(drawn)


def test_the_law_is_the_one_that_the_shipped_generator_learned() -> None:
    """Values of three codes as computed when the generator was trained."""
    params = portrait_of(torch.randn(3, 128, generator=torch.Generator().manual_seed(7)))
    expected = {
        "face_width": [-0.38022292, 0.04086983, 0.98483503],
        "skin_tone": [0.55916727, 0.44217461, 0.01493121],
        "hair_style": [6, 6, 3],
        "beard": [0.0, 0.0, 0.58442765],
        "yaw": [21.6323814, -42.8287315, 12.0876112],
        "smile": [0.69579995, 0.29757574, 0.39318335],
        "age": [37.0147820, 55.9536095, 75.4622650],
        "light_azimuth": [4.4751487, -12.6561947, -54.8806076],
        "clothes_style": [0, 2, 0],
    }
    for name, values in expected.items():
        assert getattr(params, name).tolist() == pytest.approx(values, rel=1e-4, abs=1e-5), name
    assert params.hair_color[0].tolist() == pytest.approx([0.45257300, 0.29117599, 0.16628650], rel=1e-4)
    assert params.background_top[2].tolist() == pytest.approx([0.40410477, 0.58015722, 0.71208644], rel=1e-4)


def test_a_seed_and_a_code_go_through_the_same_function() -> None:
    """A code with a seed's coordinates and whatever makes it of unit length else: the same portrait."""
    seeds = list(range(70, 90))
    rows = []
    for seed in seeds:
        who, when = (np.random.default_rng([seed, stream]) for stream in (0, 1))
        own = [*who.standard_normal(IDENTITY_COORDINATES), *when.standard_normal(COORDINATES - IDENTITY_COORDINATES)]
        rows.append(torch.tensor(own))
    width = 100_000  # so wide that a coordinate of its sphere is normal
    z = torch.ones(len(seeds), width, dtype=torch.float64)
    z[:, :COORDINATES] = torch.stack(rows)
    rest = (width - z[:, :COORDINATES].square().sum(1, keepdim=True)) / (width - COORDINATES)
    z[:, COORDINATES:] *= rest.sqrt()
    apart = params_to_vector(portrait_of(7 * z)) - params_to_vector(sample_params(seeds))
    assert float(apart.abs().max()) < 1e-3


def test_a_person_stays_the_same_however_far_the_rest_goes() -> None:
    """Coordinates of the person and of the moment do not share a length, as those of a code do."""
    coordinates = torch.randn(8, COORDINATES, dtype=torch.float64)
    other = coordinates.clone()
    other[:, IDENTITY_COORDINATES:] *= 3
    a, b = portrait_at(coordinates), portrait_at(other)
    for spec in specs_of("identity"):
        assert torch.equal(getattr(a, spec.name), getattr(b, spec.name)), spec.name
    assert not torch.equal(a.yaw, b.yaw)
    other = coordinates.clone()
    other[:, :IDENTITY_COORDINATES] *= 3
    for spec in specs_of("attribute", "scene"):
        assert torch.equal(getattr(a, spec.name), getattr(portrait_at(other), spec.name)), spec.name


@pytest.mark.parametrize("count", [1, 3, 64, 67, 1100])
def test_a_seed_is_the_same_to_the_last_bit_in_a_batch_of_any_size(count: int) -> None:
    first = 3000
    many = sample_params(range(first, first + count))
    alone = sample_params(first + count - 1)
    for name, value in alone.as_dict().items():
        assert torch.equal(value[0], getattr(many, name)[-1]), name


def test_frequencies_and_spreads_are_those_that_are_stated(drawn: PortraitParams) -> None:
    """Against numbers worked out by hand; each within four standard errors of 4000 portraits."""

    def share(chosen: torch.Tensor) -> float:
        return float(chosen.float().mean())

    def within(p: float) -> float:
        return 4 * math.sqrt(p * (1 - p) / COUNT)

    normal = torch.distributions.Normal(0.0, 1.0)
    for name, deviation, middle in (
        ("yaw", 18.0, 0.0),
        ("pitch", 5.0, 0.0),
        ("smile", 0.5, 0.3),
        ("eye_tilt", 0.5, 0.0),
    ):
        for z in (-1.5, -0.5, 0.0, 1.0):
            p = float(normal.cdf(torch.tensor(z)))
            assert share(getattr(drawn, name) < middle + z * deviation) == pytest.approx(p, abs=within(p)), (name, z)
    assert share(drawn.age < 18) == pytest.approx(0.12, abs=within(0.12))
    assert share(drawn.age > 51) == pytest.approx(0.44, abs=within(0.44))  # half of the adults, 18 to 84
    assert share(drawn.skin_tone < 0.5**1.4) == pytest.approx(0.5, abs=within(0.5))
    assert share(drawn.beard > 0) == pytest.approx(0.55 * 0.42, abs=within(0.231))
    assert share(drawn.freckles > 0) == pytest.approx(0.22 * (1.3 / 1.6) ** (1 / 1.4), abs=within(0.19))
    assert share(drawn.background_top.argmax(1) == 0) == pytest.approx(1 / 3, abs=within(1 / 3))  # a third of all hues
    # Of the styles, the mean over the masculine-feminine scale; the weights' sums are 9.35 and 10.75.
    f = torch.linspace(0, 1, 2001)
    crop = ((1 - f) * 2.2 + f * 0.35) / ((1 - f) * 9.35 + f * 10.75)
    style = share(drawn.hair_style == 2)
    assert style == pytest.approx(float(crop.mean()), abs=within(0.12)), HAIR_STYLES[2]


def test_the_length_of_a_code_does_not_matter() -> None:
    z = torch.randn(6, 96)
    a, b = (
        params_to_vector(portrait_of(z)),
        params_to_vector(portrait_of(z * torch.tensor([0.01, 1, 3, 10, 50, 2])[:, None])),
    )
    assert torch.allclose(a, b, atol=2e-4)


def test_every_coordinate_counts_and_no_other(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    torch.manual_seed(2)
    z = torch.randn(64, 100)
    z = z / z.square().mean(1, keepdim=True).sqrt()
    base = params_to_vector(portrait_of(z))
    for place in range(100):
        other = z.clone()
        other[:, place] = -other[:, place]  # keeps the length
        moved = bool(((params_to_vector(portrait_of(other)) - base).abs() > 1e-6).any())
        assert moved == (place < COORDINATES), place


def test_codes_and_seeds_have_the_same_marginals(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    """Kolmogorov-Smirnov: for two samples of 4000, 0.05 is exceeded by chance once in about 10,000 columns."""
    ours, theirs = (vector.double() for vector in vectors)
    for name, places in vector_layout().items():
        for column in range(places.start, places.stop):
            a, b = ours[:, column].sort().values, theirs[:, column].sort().values
            grid = torch.cat([a, b])
            gap = (
                torch.searchsorted(a, grid, right=True) - torch.searchsorted(b, grid, right=True)
            ).abs().max() / COUNT
            assert float(gap) < 0.05, (name, column)


def test_fields_of_codes_depend_on_each_other_as_those_of_seeds(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    ours, theirs = (torch.corrcoef(vector.t()) for vector in vectors)
    assert float((ours - theirs).abs().max()) < 0.09  # 2430 pairs, standard error 0.022


def test_a_code_must_be_long_enough() -> None:
    with pytest.raises(ConfigError, match=str(COORDINATES)):
        portrait_of(torch.randn(2, COORDINATES - 1))
