"""The distance of codes from W."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from sdic.changes import Styles
from sdic.evaluation.codes import Nearness, OwnCodes, OwnStyles
from sdic.fast import optimize_for_inference
from sdic.networks.stylegan2 import Generator, GeneratorConfig


def test_distances_from_a_known_gaussian_by_hand() -> None:
    """Codes 1 + (2 x, 0.1 y): a step of 2 along the first and one of 0.1 along the second count the same."""
    scale = torch.tensor([2.0, 0.1])
    codes = 1 + torch.randn(200_000, 2, generator=torch.Generator().manual_seed(1)) * scale
    own = OwnCodes.from_codes(codes)
    found = own.distance(torch.tensor([[[1.0, 1.0], [3.0, 1.0]], [[1.0, 1.1], [-5.0, 1.4]]]))
    assert found.shape == (2, 2)
    assert found[0].tolist() == pytest.approx([0.0, 1.0], abs=0.02)
    assert found[1].tolist() == pytest.approx([1.0, 5.0], abs=0.06)


def test_correlated_coordinates_are_taken_apart() -> None:
    z = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(2))
    own = OwnCodes.from_codes(torch.stack([z[:, 0], z[:, 0] + 0.1 * z[:, 1]], 1))
    along, across = own.distance(torch.tensor([[1.0, 1.0], [0.5, -0.5]])).tolist()
    assert along == pytest.approx(1.0, abs=0.05)
    assert across == pytest.approx((0.5**2 + 10.0**2) ** 0.5, rel=0.02)


def test_own_codes_are_near_and_the_same_every_time() -> None:
    generator = Generator(GeneratorConfig(32, 16, 2, channels=(8, 8, 8, 8)))
    own, again = OwnCodes.of(generator, 5000), OwnCodes.of(generator, 5000)
    assert torch.equal(own.mean, again.mean)
    w = generator.mapping(torch.randn(500, 16)).detach()
    assert float(own.distance(w).mean()) == pytest.approx(16**0.5, rel=0.1)
    assert float(own.distance(w + 3 * w.std(0)).mean()) > 1.5 * float(own.distance(w).mean())


def test_a_direction_without_any_spread_does_not_end_in_infinity() -> None:
    codes = torch.randn(1000, 3)
    codes[:, 2] = 0.0
    own = OwnCodes.from_codes(codes)
    assert bool(torch.isfinite(own.distance(torch.randn(5, 3))).all())


def test_the_spread_makes_codes_of_the_same_covariance() -> None:
    draw = torch.Generator().manual_seed(3)
    mix = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.3, -0.2, 0.01]])
    codes = torch.randn(100_000, 3, generator=draw) @ mix.t()
    spread = OwnCodes.from_codes(codes).spread()
    assert torch.allclose(spread @ spread.t(), torch.cov(codes.double().t()), rtol=1e-6, atol=1e-10)


# Style vectors -------------------------------------------------------------------------------------------------------


class _Plain:
    """A generator whose mapping is the identity, and whose two style vectors are the code and a fixed one."""

    config = SimpleNamespace(style_dim=2, latent_rows=2)
    latent_avg = torch.zeros(2)
    synthesis = SimpleNamespace(
        styles=lambda latent: Styles({0: latent[:, 0]}, {0: torch.ones(len(latent), 3) * latent[:, :1, 0]})
    )

    @staticmethod
    def mapping(z: torch.Tensor) -> torch.Tensor:
        return z


def test_the_cosine_distance_of_styles_by_hand() -> None:
    """Own codes (1, 0) and (0, 1) in equal parts: the mean direction is (.5, .5); the second style is 1 or 0."""
    own = OwnStyles.of(_Plain(), torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(50, 1))
    codes = torch.tensor([[2.0, 0.0], [3.0, 3.0], [-1.0, -1.0]])[:, None].expand(-1, 2, -1)
    first = torch.tensor([0.5, 0.5**0.5, -(0.5**0.5)])  # mean cosine of the code with (1, 0) and (0, 1)
    second = torch.tensor([0.5, 0.5, -0.5])  # of (1, 1, 1) or its opposite with (1, 1, 1) and 0
    assert own.distance(_Plain(), codes).tolist() == pytest.approx((1 - (first + second) / 2).tolist(), abs=1e-5)


def test_own_codes_are_nearest_by_both_measures() -> None:
    generator = Generator(GeneratorConfig(32, 16, 2, channels=(8, 8, 8, 8)))
    near = Nearness(generator, 4000)
    own = near.of_own(500)
    assert own["from_w"] == pytest.approx(16**0.5, rel=0.1)
    w = generator.mapping(torch.randn(200, 16)).detach()[:, None].expand(-1, generator.config.latent_rows, -1)
    found = near.measure(w)
    assert sum(found["nscd"]) / 200 == pytest.approx(own["nscd"], rel=0.15)
    away = near.measure(w + 3 * torch.randn_like(w) * w.std((0, 1)))
    for name in ("from_w", "nscd"):
        assert len(found[name]) == 200
        assert sum(away[name]) > 1.1 * sum(found[name])


def test_the_fast_generator_has_the_same_distances() -> None:
    generator = Generator(GeneratorConfig(32, 16, 2, channels=(8, 8, 8, 8))).eval().requires_grad_(False)
    w = torch.randn(4, generator.config.latent_rows, 16)
    plain = Nearness(generator, 500).measure(w)
    optimize_for_inference(generator, torch.device("cpu"))
    fast = Nearness(generator, 500).measure(w)
    assert fast["nscd"] == pytest.approx(plain["nscd"], abs=1e-5)
    assert fast["from_w"] == pytest.approx(plain["from_w"], rel=1e-5)
