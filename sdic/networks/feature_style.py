"""The Feature-Style encoder (Yao et al. 2022): photo -> code of W+ and a feature of the generator. StyleFeatureEditor
(Bobkov et al. 2024) takes it with fewer strides, so that its feature is larger.

Shapes: B batch, H and W input size, L latent rows, D style width, C/h/w the feature.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.networks.iresnet import IResNet
from sdic.networks.irse import IR50, WIDTHS

CONTENT_STAGE = 2
"""The stage that the feature is read from, of 0 to 3."""


@dataclass(frozen=True)
class FeatureStyleConfig:
    """The sizes of an encoder.

    latent_rows, style_dim: L and D of the generator.
    blocks, widths, strides: of the four stages. FS halves the picture in each.
    feature_channels: C.
    content_strides: of the two convolutions from stage 2 to the feature.
    pool: each stage is averaged to this side before the codes are read from all four.
    """

    latent_rows: int = 18
    style_dim: int = 512
    blocks: tuple[int, ...] = IR50
    widths: tuple[int, ...] = WIDTHS
    strides: tuple[int, ...] = (2, 2, 2, 2)
    feature_channels: int = 512
    content_strides: tuple[int, ...] = (1, 2)
    pool: int = 3

    def __post_init__(self) -> None:
        for name in ("blocks", "widths", "strides", "content_strides"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if {len(self.blocks), len(self.widths), len(self.strides)} != {4} or len(self.content_strides) != 2:
            raise ConfigError(f"a Feature-Style encoder has four stages and two content convolutions, got {self}")

    def feature_size(self, side: int) -> int:
        """The side h of the feature of a photo of this side."""
        for stride in (*self.strides[: CONTENT_STAGE + 1], *self.content_strides):
            side = -(-side // stride)
        return side


class FeatureStyleEncoder(nn.Module):
    """Photo [B, 3, H, W] in [-1, 1] -> (code w [B, L, D], feature [B, C, h, w]). `latent_avg` [L, D] is the mean code
    that is added."""

    latent_avg: Tensor

    def __init__(self, config: FeatureStyleConfig):
        super().__init__()
        self.config = config
        self.body = IResNet(config.blocks, config.widths, config.strides)
        inputs, width = config.widths[CONTENT_STAGE], config.feature_channels
        first, second = config.content_strides
        self.content = nn.Sequential(
            OrderedDict(
                norm1=nn.BatchNorm2d(inputs),
                conv1=nn.Conv2d(inputs, width, 3, first, 1, bias=False),
                norm2=nn.BatchNorm2d(width),
                act=nn.PReLU(width),
                conv2=nn.Conv2d(width, width, 3, second, 1, bias=False),
                norm3=nn.BatchNorm2d(width),
            )
        )
        numbers = sum(config.widths) * config.pool**2
        self.heads = nn.ModuleList(nn.Linear(numbers, config.style_dim) for _ in range(config.latent_rows))
        self.register_buffer("latent_avg", torch.zeros(config.latent_rows, config.style_dim))

    def forward(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        stages = self.body(photo)
        pooled = torch.cat([F.adaptive_avg_pool2d(stage, self.config.pool) for stage in stages], 1).flatten(1)
        code = torch.stack([head(pooled) for head in self.heads], 1) + self.latent_avg
        return code, self.content(stages[CONTENT_STAGE])


@dataclass(frozen=True)
class FeatureFuserConfig:
    """channels: C, of either feature. blocks: residual ones."""

    channels: int = 512
    blocks: int = 5


class FuserBlock(nn.Module):
    """norm, 3x3, norm, PReLU, 3x3, norm; plus the input."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.act = nn.PReLU(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm3(self.conv2(self.act(self.norm2(self.conv1(self.norm1(x))))))


class FeatureFuser(nn.Module):
    """Two features [B, C, h, w] -> one. StyleFeatureEditor's fuser, and with other weights its Feature Editor."""

    def __init__(self, config: FeatureFuserConfig):
        super().__init__()
        self.config = config
        self.mix = nn.Conv2d(2 * config.channels, config.channels, 1)
        self.blocks = nn.Sequential(*(FuserBlock(config.channels) for _ in range(config.blocks)))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.blocks(self.mix(torch.cat([first, second], 1)))
