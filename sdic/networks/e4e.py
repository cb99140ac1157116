"""The e4e encoder (Tov et al. 2021): photo -> one style code and a small offset for every further row of W+; with one
switch that of pSp (Richardson et al. 2021), whose rows are codes of their own. With two more it is that of ReStyle
(Alaluf et al. 2021), which sees a photo and its reconstruction, and has no feature pyramid.

Shapes: B batch, H and W input size (256x256 for faces, 192x256 for cars), L latent rows, D style width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.networks.irse import IR50, WIDTHS, IRBody
from sdic.networks.layers import EqualLinear
from sdic.networks.resnet import ResNetBody


@dataclass(frozen=True)
class E4EConfig:
    """The sizes of an encoder.

    latent_rows, style_dim: L and D of the generator.
    blocks, widths: the body, four stages.
    coarse, middle: rows below `coarse` read the 1/16 feature, rows below `middle` the 1/8 one, the rest the 1/4 one.
    input_size: the larger side of the input; the number of strided convolutions in the heads follows from it.
    relative: whether a head's output is an offset from row 0 (e4e) or the row itself (pSp).
    channels: of the input: 3 of a photo, or 6 of a photo and its reconstruction.
    pyramid: whether middle and fine rows read larger features, by a pyramid; without it all rows read the 1/16 one.
    body: "irse", or the "resnet" of the ReStyle files that are not of faces; that one gives no pyramid.
    """

    latent_rows: int = 18
    style_dim: int = 512
    blocks: tuple[int, int, int, int] = IR50
    widths: tuple[int, int, int, int] = WIDTHS
    coarse: int = 3
    middle: int = 7
    input_size: int = 256
    relative: bool = True
    channels: int = 3
    pyramid: bool = True
    body: Literal["irse", "resnet"] = "irse"

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.input_size & (self.input_size - 1) or self.input_size < 32:
            raise ConfigError(f"e4e input_size must be a power of two of at least 32, got {self.input_size}")
        if not 0 < self.coarse <= self.middle <= self.latent_rows:
            raise ConfigError(
                f"e4e needs 0 < coarse <= middle <= latent_rows, got {self.coarse}, {self.middle}, {self.latent_rows}"
            )
        if self.body not in ("irse", "resnet") or (self.body == "resnet" and self.pyramid):
            raise ConfigError(f"an encoder's body is irse, or resnet without a pyramid, got {self.body!r}")

    def head_level(self, row: int) -> int:
        """Which feature row `row` reads: 0 for 1/16, 1 for 1/8, 2 for 1/4."""
        return 0 if row < self.coarse or not self.pyramid else 1 if row < self.middle else 2


class StyleHead(nn.Module):
    """Strided 3x3 convolutions down to one pixel, then a linear layer: [B, C, h, w] -> [B, D]."""

    def __init__(self, in_channels: int, out_channels: int, pools: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels if i == 0 else out_channels, out_channels, 3, 2, 1) for i in range(pools)
        )
        self.linear = EqualLinear(out_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        if max(x.shape[2:]) != 1 << len(self.convs):  # smaller ones would end at one pixel as well
            raise ValueError(f"this style head was built for {1 << len(self.convs)} px, got a feature {list(x.shape)}")
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.01)
        return self.linear(x.flatten(1))


class E4E(nn.Module):
    """Photo [B, 3, H, W] in [-1, 1] (or [B, 6, H, W] with its reconstruction) -> code w [B, L, D]. `latent_avg` [L, D]
    is the mean code that is added."""

    latent_avg: Tensor

    def __init__(self, config: E4EConfig):
        super().__init__()
        self.config = config
        body: Any = ResNetBody if config.body == "resnet" else IRBody
        self.body = body(config.blocks, config.widths, channels=config.channels)
        width = config.widths[-1]
        if config.pyramid:
            self.lateral1 = nn.Conv2d(config.widths[2], width, 1)
            self.lateral2 = nn.Conv2d(config.widths[1], width, 1)
        smallest = int(math.log2(config.input_size)) - 4
        self.heads = nn.ModuleList(
            StyleHead(width, config.style_dim, smallest + config.head_level(row)) for row in range(config.latent_rows)
        )
        self.register_buffer("latent_avg", torch.zeros(config.latent_rows, config.style_dim))

    def forward(self, photo: Tensor, rows: int | None = None) -> Tensor:
        """The code. `rows` limits the offsets to the first rows (progressive training); the others repeat row 0."""
        return self.offsets(photo, rows) + self.latent_avg

    def with_skip(self, photo: Tensor) -> tuple[Tensor, Tensor]:
        """The code [B, L, D], and the body's feature at a quarter of the photo [B, C, H/4, W/4]."""
        stages = self._stages(photo)
        return self._offsets(stages) + self.latent_avg, stages[1]

    def offsets(self, photo: Tensor, rows: int | None = None) -> Tensor:
        """The code less `latent_avg`: [B, L, D]. ValueError for a photo of another size than `input_size`."""
        return self._offsets(self._stages(photo), rows)

    def _stages(self, photo: Tensor) -> list[Tensor]:
        if max(photo.shape[2:]) != self.config.input_size:
            raise ValueError(
                f"this encoder's input_size is {self.config.input_size} px (the larger side), got {list(photo.shape)}"
            )
        return self.body(photo)

    def _offsets(self, stages: list[Tensor], rows: int | None = None) -> Tensor:
        _, quarter, eighth, sixteenth = stages
        levels = [sixteenth]
        if self.config.pyramid:
            levels.append(resize_like(sixteenth, eighth) + self.lateral1(eighth))
            levels.append(resize_like(levels[1], quarter) + self.lateral2(quarter))
        first = self.heads[0](sixteenth)
        codes = [first]
        for row in range(1, self.config.latent_rows):
            if rows is not None and row >= rows:
                codes.append(first)
            else:
                own = self.heads[row](levels[self.config.head_level(row)])
                codes.append(first + own if self.config.relative else own)
        return torch.stack(codes, 1)


def resize_like(x: Tensor, other: Tensor) -> Tensor:
    """Bilinear, corners aligned, as the feature pyramid of pSp and e4e does it."""
    return F.interpolate(x, size=other.shape[2:], mode="bilinear", align_corners=True)
