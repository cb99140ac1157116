"""DIPN and DICN as one network: photo, first reconstruction, code, feature -> compensated code, feature.

Training and inference both call this, so that they cannot drift apart.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from sdic.networks.dicn import DICN
from sdic.networks.dipn import DIPN


class Compensated(NamedTuple):
    """latent: w' [B, L, D]. feature: F' [B, C, h, w]. discrepancy: D [B, 3, H, W]."""

    latent: Tensor
    feature: Tensor
    discrepancy: Tensor


class Compensator(nn.Module):
    """photo, initial [B, 3, H, W] in [-1, 1]; latent w [B, L, D]; feature F [B, C, h, h] -> `Compensated`.

    Features of a generator are square. Where the picture is not (cars: a 3:4 crop), the map is padded with zeros, which
    stand for "no discrepancy", so that map and feature cover the same square.
    """

    def __init__(self, dipn: DIPN, dicn: DICN):
        super().__init__()
        self.dipn = dipn
        self.dicn = dicn

    def forward(self, photo: Tensor, initial: Tensor, latent: Tensor, feature: Tensor) -> Compensated:
        discrepancy = self.dipn(photo, initial)
        enhanced = self.dicn(pad_square(discrepancy), latent, feature)
        return Compensated(enhanced.latent, enhanced.feature, discrepancy)


def pad_square(x: Tensor) -> Tensor:
    """Pad the shorter side of [B, C, H, W] with zeros, half before and half after."""
    height, width = x.shape[2:]
    if height == width:
        return x
    size = max(height, width)
    top, left = (size - height) // 2, (size - width) // 2
    return F.pad(x, (left, size - width - left, top, size - height - top))
