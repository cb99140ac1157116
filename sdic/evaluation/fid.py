"""Fréchet distance between sets of pictures (Heusel et al. 2017) on any network's features. N pictures, F features.

On the domain's own perceptual network it is no "FID" that compares with anybody's: its scale is the distance
between two sets of real pictures of the same size, which is what a perfect generator would get.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from sdic.settings import require


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
    """(mean [F], unbiased covariance [F, F]), float64, of the features [B, F] of pictures that come in batches
    [B, 3, H, W]; ConfigError for fewer than two pictures."""
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for batch in batches:
        x = features(batch).detach().double().cpu()
        count, total, products = count + len(x), total + x.sum(0), products + x.t() @ x
    require(count >= 2, f"a Fréchet distance needs at least two pictures, got {count}")
    mean = total / count
    return mean, (products - count * torch.outer(mean, mean)) / (count - 1)
