"""Fixed periodic noise pictures for strands, spots and mottling, the same on every device and in every run."""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

SIZE = 256


def _smooth(seed: int, sigma_u: float, sigma_v: float) -> np.ndarray:
    """White noise blurred by periodic Gaussians (standard deviations in pixels), with mean 0 and deviation 1."""
    white = np.random.default_rng(seed).standard_normal((SIZE, SIZE))
    f = np.fft.fftfreq(SIZE)
    gain_u, gain_v = np.exp(-2 * (np.pi * f * sigma_u) ** 2), np.exp(-2 * (np.pi * f * sigma_v) ** 2)
    smooth = np.fft.ifft2(np.fft.fft2(white) * gain_v[:, None] * gain_u[None, :]).real
    return (smooth - smooth.mean()) / smooth.std()


@functools.lru_cache(maxsize=8)
def _strands(device: torch.device) -> Tensor:
    fine = _smooth(1, 1.2, 14.0)
    clump = _smooth(2, 5.0, 40.0)
    slope = np.roll(fine, -1, 1) - np.roll(fine, 1, 1) + 2.5 * (np.roll(clump, -1, 1) - np.roll(clump, 1, 1))
    return _tile(np.stack([fine, clump, slope]), device)


@functools.lru_cache(maxsize=8)
def _skin(device: torch.device) -> Tensor:
    return _tile(np.stack([_smooth(3, 2.2, 2.2), _smooth(4, 7.0, 7.0)]), device)


def _tile(channels: np.ndarray, device: torch.device) -> Tensor:
    wrapped = np.pad(channels, ((0, 0), (0, 1), (0, 1)), mode="wrap")
    return torch.from_numpy(wrapped.astype(np.float32)).unsqueeze(0).to(device)


def _lookup(texture: Tensor, u: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    place = torch.stack([u - u.floor(), v - v.floor()], -1).mul_(2).sub_(1)
    sampled = grid_sample(texture, place.view(1, 1, -1, 2), mode="bilinear", align_corners=True)
    return sampled.view(texture.shape[1], -1).unbind(0)


def strand_noise(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Fine strands, clumps, and their slope across, at `u` across and `v` along the hair (period 1); each [M]."""
    fine, clump, slope = _lookup(_strands(u.device), u, v)
    return fine, clump, slope


def spot_noise(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Small and large blotches at `u`, `v` (period 1), each of unit deviation, [M]."""
    small, large = _lookup(_skin(u.device), u, v)
    return small, large
