"""z -> portrait: the same law as `sample_params`, and a function of the direction of z alone."""

from __future__ import annotations

import pytest
import torch

from sdic.data.portraits import params_to_vector, sample_params, vector_layout
from sdic.errors import ConfigError
from sdic.pretraining.sampler import COORDINATES, portrait_of

COUNT = 4000


@pytest.fixture(scope="module")
def vectors() -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.randn(COUNT, 128, generator=torch.Generator().manual_seed(5))
    return params_to_vector(portrait_of(z)), params_to_vector(sample_params(range(50_000, 50_000 + COUNT)))


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


def test_marginals_are_those_of_sample_params(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
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


def test_fields_depend_on_each_other_as_in_sample_params(vectors: tuple[torch.Tensor, torch.Tensor]) -> None:
    ours, theirs = (torch.corrcoef(vector.t()) for vector in vectors)
    assert float((ours - theirs).abs().max()) < 0.09  # 2430 pairs, standard error 0.022


def test_a_code_must_be_long_enough() -> None:
    with pytest.raises(ConfigError, match=str(COORDINATES)):
        portrait_of(torch.randn(2, COORDINATES - 1))
