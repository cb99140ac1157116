"""StyleRes's networks (Pehlivan et al., CVPR 2023): what a code misses is read from the encoder's own feature, and a
generator feature, of whatever edit, is completed by it.

Shapes: B batch, S channels of the encoder's feature ("skip"), C and h x w channels and size of the generator feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.networks.e4e import resize_like
from sdic.settings import require


@dataclass(frozen=True)
class ResidualTransformConfig:
    """feature_channels: C, an even number. skip_channels: S."""

    feature_channels: int = 512
    skip_channels: int = 128

    def __post_init__(self) -> None:
        require(self.feature_channels % 2 == 0, f"feature_channels must be even, got {self.feature_channels}")


class ResidualLayer(nn.Module):
    """3x3, LeakyReLU(0.2), 3x3 (stride); plus the input, or where the shape changes a 1x1 convolution of it."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, 1, 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, 1)
        changes = inputs != outputs or stride != 1
        self.project = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.leaky_relu(self.conv1(x), 0.2))
        return y + (x if self.project is None else self.project(x))


def _layers(widths: Sequence[int], stride: int = 1) -> nn.Sequential:
    """Residual layers from width to width; the first has the stride."""
    return nn.Sequential(*(ResidualLayer(*pair, 1 if n else stride) for n, pair in enumerate(pairwise(widths))))


class Alignment(nn.Module):
    """The first half of E1, a U of residual layers: skip [B, S, h, w] and feature [B, C, h, w] -> [B, C, h, w]."""

    def __init__(self, config: ResidualTransformConfig):
        super().__init__()
        c = config.feature_channels
        self.entry = nn.Conv2d(config.skip_channels + c, c, 1)
        self.level1, self.level2, self.level3 = _layers((c, c)), _layers((c, c, c), 2), _layers((c, c, c), 2)
        self.up2, self.up1 = _layers((c, c, c)), _layers((c, c, c))
        self.output = nn.Conv2d(c, c, 1)

    def forward(self, skip: Tensor, feature: Tensor) -> Tensor:
        first = self.level1(self.entry(torch.cat([skip, feature], 1)))
        second = self.level2(first)
        x = self.up2(resize_like(self.level3(second), second) + second)
        return self.output(self.up1(resize_like(x, first) + first))


class Gated(NamedTuple):
    """What E2 finds: offset [B, C, h, w] and gate [B, 1, h, w], 0 to 1."""

    offset: Tensor
    gate: Tensor

    def completed(self, feature: Tensor) -> Tensor:
        """F' = F + gate * offset."""
        return feature + self.gate * self.offset


class ResidualTransform(nn.Module):
    """E1 (`extract`) and E2 (`forward`). What E1 extracts belongs to photo and code; E2 looks at it for every edit."""

    def __init__(self, config: ResidualTransformConfig):
        super().__init__()
        self.config = config
        c = config.feature_channels
        self.align = Alignment(config)
        self.extraction = nn.Sequential(nn.Conv2d(c, c, 1), *_layers((c,) * 4))
        self.of_feature, self.of_extracted = nn.Conv2d(c, c // 2, 3, 1, 1), nn.Conv2d(c, c // 2, 3, 1, 1)
        self.offset, self.gate = _layers((c,) * 4), _layers((c, c, c, 1))

    def aligned(self, skip: Tensor, feature: Tensor) -> Tensor:
        """The encoder's feature [B, S, H', W'], brought to h x w and to the places of the generator's own G_k(w)."""
        if skip.shape[2:] != feature.shape[2:]:
            skip = F.interpolate(skip, size=feature.shape[2:], mode="bilinear", align_corners=False)
        return self.align(skip, feature)

    def extract(self, skip: Tensor, feature: Tensor) -> Tensor:
        """E1: what the code w misses of the photo, [B, C, h, w]. feature: G_k(w)."""
        return self.extraction(self.aligned(skip, feature))

    def forward(self, feature: Tensor, extracted: Tensor) -> Gated:
        """E2. feature: G_k of the code to draw, edited or not."""
        both = torch.cat([self.of_feature(feature), self.of_extracted(extracted)], 1)
        return Gated(self.offset(both), torch.sigmoid(self.gate(both)))
