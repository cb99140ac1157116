"""Fréchet distance between sets of pictures (Heusel et al. 2017) on any network's features. N pictures, F features.

On the domain's own perceptual network it is no "FID" that compares with anybody's: its scale is the distance
between two sets of real pictures of the same size, which is what a perfect generator would get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from sdic.errors import ConfigError


class Moments:
    """Mean and covariance of features, added up in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.sum: Tensor | None = None
        self.products: Tensor | None = None

    def add(self, features: Tensor) -> None:
        """Take in features [N, F]."""
        x = features.detach().double().cpu()
        if self.sum is None or self.products is None:
            self.sum, self.products = x.new_zeros(x.shape[1]), x.new_zeros(x.shape[1], x.shape[1])
        self.count += len(x)
        self.sum += x.sum(0)
        self.products += x.t() @ x

    def finish(self) -> tuple[Tensor, Tensor]:
        """(mean [F], unbiased covariance [F, F]); ConfigError for fewer than two pictures."""
        if self.count < 2 or self.sum is None or self.products is None:
            raise ConfigError(f"a Fréchet distance needs at least two pictures, got {self.count}")
        mean = self.sum / self.count
        return mean, (self.products - self.count * torch.outer(mean, mean)) / (self.count - 1)


def frechet_distance(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a^1/2 S_b S_a^1/2)^1/2) for (mean [F], covariance [F, F]); at least 0."""
    (mean_a, cov_a), (mean_b, cov_b) = ((m.double(), c.double()) for m, c in (a, b))
    values, vectors = torch.linalg.eigh(cov_a)
    root = vectors @ torch.diag(values.clamp_min(0).sqrt()) @ vectors.t()
    middle = root @ cov_b @ root
    cross = torch.linalg.eigvalsh((middle + middle.t()) / 2).clamp_min(0).sqrt().sum()
    distance = (mean_a - mean_b).square().sum() + cov_a.trace() + cov_b.trace() - 2 * cross
    return max(0.0, float(distance))


@torch.no_grad()
def moments_of(batches: Iterable[Tensor], features: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """Moments of the features [B, F] of pictures that come in batches [B, 3, H, W]."""
    moments = Moments()
    for batch in batches:
        moments.add(features(batch))
    return moments.finish()
