"""DICN, the discrepancy information compensation network: puts the discrepancy map into the code and the feature.

Shapes: B batch, L latent rows, D style width, C and h x w channels and size of the compensated feature, H x W size of
the discrepancy map. `preset` "released" is what the authors' weights need, "paper" what the text says.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.networks.dipn import Preset
from sdic.networks.layers import EqualConv2d, ScaledLeakyReLU, conv2d_norm
from sdic.settings import require

Fusion = Literal["attention", "affine"]
GRID = 64  # side of the grid that the release views as rows of D numbers


@dataclass(frozen=True)
class DICNConfig:
    """latent_rows, style_dim: L and D.
    feature_channels, feature_size: C and the larger of h, w (sets the strides).
    map_size: the larger of H, W.
    fusion: "attention" (eq. 5) or "affine" (Figure 4b).
    preset: "released" or "paper".
    latent_maps: channels of the released latent branch; 18 for faces and cars alike.
    """

    latent_rows: int = 18
    style_dim: int = 512
    feature_channels: int = 512
    feature_size: int = 64
    map_size: int = 256
    preset: Preset = "released"
    fusion: Fusion = "attention"
    latent_maps: int = 18

    def __post_init__(self) -> None:
        require(self.preset in ("released", "paper"), f"preset must be 'released' or 'paper', got {self.preset!r}")
        require(self.fusion in ("attention", "affine"), f"fusion must be 'attention' or 'affine', got {self.fusion!r}")
        if self.preset == "released" and self.latent_maps * GRID * GRID % self.style_dim:
            raise ConfigError(f"latent_maps * {GRID * GRID} must be a multiple of style_dim {self.style_dim}")


class Compensation(NamedTuple):
    """What DICN returns: the enhanced code w' [B, L, D] and the enhanced feature F' [B, C, h, w]."""

    latent: Tensor
    feature: Tensor


class MapEncoder(nn.Module):
    """f^c2 of eq. 5: discrepancy map [B, 3, H, W] -> [B, C, h, w] by 3x3 convolutions (released: five; paper: four).

    As many of them are strided as the size asks for (two for layer 7).
    """

    def __init__(self, config: DICNConfig):
        super().__init__()
        width = config.feature_channels
        halvings = max(0, round(math.log2(config.map_size / config.feature_size)))
        first_stride = 2 if halvings > 2 else 1
        second, third = (2 if halvings > 0 else 1), (2 if halvings > 1 else 1)
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, first_stride, 1, bias=False), nn.BatchNorm2d(32), nn.PReLU(32))
        self.convs = nn.Sequential(
            conv2d_norm(32, 64, 3, second),
            *([nn.Conv2d(64, 64, 3, 1, 1, bias=False)] if config.preset == "released" else []),
            conv2d_norm(64, width, 3, third),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
        )

    def forward(self, discrepancy: Tensor, size: torch.Size) -> Tensor:
        x = self.convs(self.stem(discrepancy))
        return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)


class FeatureFusion(nn.Module):
    """F' from F and D, with f = f^c2(D).

    Attention (eq. 5): sigmoid(f^c1(F + f)) * f + F. Affine: (1 + g(f)) * F + t(f).
    """

    def __init__(self, config: DICNConfig):
        super().__init__()
        channels = config.feature_channels
        self.encode = MapEncoder(config)
        self.attends = config.fusion == "attention"
        if self.attends:
            self.attention = nn.Sequential(
                conv2d_norm(channels, channels), nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            )
        else:
            self.gain = nn.Conv2d(channels, channels, 3, 1, 1)
            self.offset = nn.Conv2d(channels, channels, 3, 1, 1)

    def forward(self, discrepancy: Tensor, feature: Tensor) -> Tensor:
        f = self.encode(discrepancy, feature.shape[2:])
        if self.attends:
            return torch.sigmoid(self.attention(f + feature)) * f + feature
        return (1 + self.gain(f)) * feature + self.offset(f)


class ReleasedLatentAffine(nn.Module):
    """Eq. 3-4 as released: D -> L maps, viewed as rows of D numbers, mixed to L rows; w' = (1 + gamma) w + theta."""

    def __init__(self, config: DICNConfig):
        super().__init__()
        maps, rows = config.latent_maps, config.latent_rows
        self.style_dim = config.style_dim
        self.maps = nn.Sequential(
            EqualConv2d(3, maps, 3, padding=1), ScaledLeakyReLU(), EqualConv2d(maps, maps, 3, padding=1)
        )
        inputs = maps * GRID * GRID // config.style_dim
        self.mix = self._two_convs(inputs, inputs // 2, rows, 1, bias=True)
        self.gamma = self._two_convs(rows, rows, rows, 3, bias=False)
        self.theta = self._two_convs(rows, rows, rows, 3, bias=False)

    @staticmethod
    def _two_convs(inputs: int, hidden: int, rows: int, size: int, *, bias: bool) -> nn.Sequential:
        first, last = nn.Conv1d(inputs, hidden, size, padding=size // 2), nn.Conv1d(hidden, rows, 1, bias=bias)
        return nn.Sequential(first, nn.BatchNorm1d(hidden), nn.LeakyReLU(0.01, inplace=True), last)

    def forward(self, discrepancy: Tensor, latent: Tensor) -> Tensor:
        maps = F.interpolate(self.maps(discrepancy), size=(GRID, GRID), mode="bilinear", align_corners=False)
        # A row of the view is a strip of one map, not a channel: so the release does it.
        mixed = self.mix(maps.reshape(len(maps), -1, self.style_dim))
        return (1 + self.gamma(mixed)) * latent + self.theta(mixed)


class PaperLatentAffine(nn.Module):
    """Eq. 3-4 as written: gamma and theta by two 3x3 convolutions each; w' = gamma * w + theta, beginning at w' = w."""

    def __init__(self, config: DICNConfig):
        super().__init__()
        rows = config.latent_rows
        self.gamma = self._branch(rows)
        self.theta = self._branch(rows)
        side = 2 ** (int(math.log2(config.style_dim)) // 2)
        self.grid = (side, config.style_dim // side) if config.style_dim % side == 0 else (1, config.style_dim)

    @staticmethod
    def _branch(rows: int) -> nn.Sequential:
        last = nn.Conv2d(rows, rows, 3, 1, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        return nn.Sequential(nn.Conv2d(3, rows, 3, 1, 1), nn.LeakyReLU(0.2), last)

    def forward(self, discrepancy: Tensor, latent: Tensor) -> Tensor:
        gamma, theta = (
            F.adaptive_avg_pool2d(branch(discrepancy), self.grid).flatten(2) for branch in (self.gamma, self.theta)
        )
        return (1 + gamma) * latent + theta


class DICN(nn.Module):
    """Discrepancy map [B, 3, H, W], code w [B, L, D], feature F [B, C, h, w] -> enhanced code w' and feature F'."""

    def __init__(self, config: DICNConfig):
        super().__init__()
        self.config = config
        self.feature = FeatureFusion(config)
        self.latent = ReleasedLatentAffine(config) if config.preset == "released" else PaperLatentAffine(config)

    def forward(self, discrepancy: Tensor, latent: Tensor, feature: Tensor) -> Compensation:
        return Compensation(self.latent(discrepancy, latent), self.feature(discrepancy, feature))
