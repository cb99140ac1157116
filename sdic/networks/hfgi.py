"""HFGI's networks (Wang et al., CVPR 2022): the distortion map is aligned with a reconstruction, then consulted.

Delta = photo - R_o is the distortion map, R_o the first reconstruction. Shapes: B batch, H x W size of both, C and
h x w channels and size of the generator feature that consults the map.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.networks.compensator import pad_square
from sdic.networks.irse import IRBlock
from sdic.networks.layers import EqualConv2d, ScaledLeakyReLU


@dataclass(frozen=True)
class ADAConfig:
    """widths: channels of the four levels, from full size to an eighth. align: False leaves maps as they are, the
    ablation without ADA; such a network has no weights."""

    widths: tuple[int, int, int, int] = (16, 32, 48, 64)
    align: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))


class ADA(nn.Module):
    """Adaptive distortion alignment, a U of residual blocks: Delta' = ADA(Delta, R'), as R' is posed.

    Delta [B, 3, H, W] of the photo, R' [B, 3, H, W] the reconstruction to align it with (of the edited code, or of the
    code itself) -> [B, 3, H, W], without bounds.
    """

    def __init__(self, config: ADAConfig):
        super().__init__()
        self.config = config
        if not config.align:
            return
        full, half, quarter, eighth = config.widths
        stem = nn.Sequential(nn.Conv2d(6, full, 3, 1, 1, bias=False), nn.BatchNorm2d(full), nn.PReLU(full))
        self.down = nn.ModuleList([stem, _blocks(full, half), _blocks(half, quarter), _blocks(quarter, eighth)])
        self.up = nn.ModuleList(
            [
                _blocks(eighth + quarter, eighth, half, half),
                _blocks(half + half, half, full, full),
                _blocks(full + full, full, 3, 3),
            ]
        )

    def forward(self, distortion: Tensor, reconstruction: Tensor) -> Tensor:
        if not self.config.align:
            return distortion
        x, levels = torch.cat([distortion, reconstruction], 1), []
        for stage in self.down:
            x = stage(x)
            levels.append(x)
        for stage, level in zip(self.up, reversed(levels[:-1]), strict=True):
            x = F.interpolate(x, size=level.shape[2:], mode="bilinear", align_corners=False)
            x = stage(torch.cat([x, level], 1))
        return x


@dataclass(frozen=True)
class ConsultationConfig:
    """widths: of the stem and the two stages.
    feature_channels, feature_size: C and the larger of h, w.
    map_size: the larger of H, W; how often the stages halve it follows.
    """

    widths: tuple[int, int, int] = (32, 48, 64)
    feature_channels: int = 512
    feature_size: int = 64
    map_size: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))


class Conditions(NamedTuple):
    """What a feature is fused with: scale and shift [B, C, h, w]."""

    scale: Tensor
    shift: Tensor

    def fused(self, feature: Tensor) -> Tensor:
        """Consultation fusion: F' = F (1 + scale) + shift."""
        return feature * (1 + self.scale) + self.shift


class Consultation(nn.Module):
    """The consultation encoder: an aligned map [B, 3, H, W] -> `Conditions` of the size of a feature.

    A map that is no square (cars) is padded with zeros, "no distortion", so that it covers what the feature covers.
    """

    def __init__(self, config: ConsultationConfig):
        super().__init__()
        self.config = config
        first, second, third = config.widths
        halvings = round(math.log2(config.map_size / config.feature_size))
        self.stem = nn.Sequential(nn.Conv2d(3, first, 3, 1, 1, bias=False), nn.BatchNorm2d(first), nn.PReLU(first))
        self.stages = nn.Sequential(
            _blocks(first, second, stride=2 if halvings > 0 else 1),
            _blocks(second, third, stride=2 if halvings > 1 else 1),
        )
        self.scale = self._head(third, config.feature_channels)
        self.shift = self._head(third, config.feature_channels)

    @staticmethod
    def _head(inputs: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(
            EqualConv2d(inputs, outputs, 3, padding=1), ScaledLeakyReLU(), EqualConv2d(outputs, outputs, 3, padding=1)
        )

    def forward(self, aligned: Tensor, size: torch.Size) -> Conditions:
        x = self.stages(self.stem(pad_square(aligned)))
        return Conditions(_resized(self.scale(x), size), _resized(self.shift(x), size))


def _blocks(inputs: int, *outputs: int, stride: int | None = None) -> nn.Sequential:
    """Residual blocks one after the other. One width means three blocks of it, of which the first halves the size (or
    has the given stride)."""
    strides = [2 if stride is None else stride, 1, 1] if len(outputs) == 1 else [1] * len(outputs)
    widths = list(outputs) * 3 if len(outputs) == 1 else list(outputs)
    parts = []
    for width, step in zip(widths, strides, strict=True):
        parts.append(IRBlock(inputs, width, step))
        inputs = width
    return nn.Sequential(*parts)


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
