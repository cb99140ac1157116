"""HyperStyle (Alaluf et al. 2022): a network that predicts relative changes of a generator's weights; its W encoder.

The vectors that its heads end in are all that has to be kept of a photo: what follows them is affine, so that several
passes add up to one sum of vectors, with the biases as often as there were passes.

Shapes: B batch, H and W input size, L latent rows, D style width, N changed layers, Z width of a vector, I and O input
and output channels of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.networks.irse import IR50, WIDTHS, IRBody
from sdic.networks.layers import EqualLinear
from sdic.networks.resnet import RESNET34, ResNetBody

SPREAD = 1 / 40  # of the shared hypernetwork's first weights, as the authors draw them


@dataclass(frozen=True)
class WEncoderConfig:
    """style_dim: D. blocks, widths: the IR-SE body. input_size: the larger side of the input."""

    style_dim: int = 512
    blocks: tuple[int, int, int, int] = IR50
    widths: tuple[int, int, int, int] = WIDTHS
    input_size: int = 256

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "widths", tuple(self.widths))


class WEncoder(nn.Module):
    """Photo [B, 3, H, W] in [-1, 1] -> one code of W, less the mean code: [B, D]."""

    def __init__(self, config: WEncoderConfig):
        super().__init__()
        self.config = config
        self.body = IRBody(config.blocks, config.widths)
        self.linear = EqualLinear(config.widths[-1], config.style_dim)

    def forward(self, photo: Tensor) -> Tensor:
        return self.linear(self.body(photo)[-1].mean((2, 3)))


@dataclass(frozen=True)
class HyperNetConfig:
    """The sizes of a hypernetwork.

    inputs, outputs: channels of the generator's convolutions, by layer.
    latent_rows, style_dim: L and D of the generator.
    layers: those whose weights are changed.
    blocks, widths: the ResNet body. The last width is Z.
    wide_inner, narrow_inner: channels inside the heads of the two kinds.
    shared: whether layers with `wide` channels in and out share a hypernetwork, which changes every tap by itself;
    without it, and in all other layers, a change is the same for all taps.
    wide: that many channels.
    input_size: the larger side of the input.
    """

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    latent_rows: int
    style_dim: int
    layers: tuple[int, ...]
    blocks: tuple[int, int, int, int] = RESNET34
    widths: tuple[int, int, int, int] = WIDTHS
    wide_inner: int = 128
    narrow_inner: int = 256
    shared: bool = True
    wide: int = 512
    input_size: int = 256

    def __post_init__(self) -> None:
        for name in ("inputs", "outputs", "layers", "blocks", "widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        count = len(self.inputs)
        if len(self.outputs) != count or not self.layers or not set(self.layers) <= set(range(count)):
            raise ConfigError(
                f"a hypernetwork changes layers of the generator, which has 0 .. {count - 1}: {self.layers}"
            )
        if self.input_size & (self.input_size - 1) or self.input_size < 64:
            raise ConfigError(
                f"a hypernetwork's input_size must be a power of two of 64 or more, got {self.input_size}"
            )

    @property
    def halvings(self) -> int:
        """How often the body's last feature can be halved until it is one pixel."""
        return int(math.log2(self.input_size)) - 4

    def is_wide(self, layer: int) -> bool:
        """Whether a layer's change comes from the shared hypernetwork."""
        return self.shared and self.inputs[layer] == self.outputs[layer] == self.wide


class Head(nn.Module):
    """The body's feature [B, Z, h, h] -> the vector of a layer: [B, Z].

    A wide head goes down to one pixel and ends in a linear layer; a narrow one goes down to 2x2, of which the mean is
    taken.
    """

    def __init__(self, config: HyperNetConfig, layer: int):
        super().__init__()
        width, wide = config.widths[-1], config.is_wide(layer)
        inner, steps = (config.wide_inner, config.halvings + 1) if wide else (config.narrow_inner, config.halvings - 1)
        sizes = [width, *[inner] * (steps - 1), width]
        self.convs = nn.ModuleList(
            nn.Conv2d(sizes[n], sizes[n + 1], 3, 1 if wide and n == 0 else 2, 1) for n in range(steps)
        )
        self.linear = EqualLinear(width, width) if wide else None

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.01)
        x = x.mean((2, 3))
        return x if self.linear is None else self.linear(x)


class SharedHyperNet(nn.Module):
    """h = v w2 + b2, shaped [O, Z], and the change h w1 + b1, shaped [O, I, 3, 3]: affine in v."""

    def __init__(self, width: int, channels: int):
        super().__init__()
        self.w1 = nn.Parameter(torch.randn(width, channels * 9) * SPREAD)
        self.b1 = nn.Parameter(torch.randn(channels * 9) * SPREAD)
        self.w2 = nn.Parameter(torch.randn(width, channels * width) * SPREAD)
        self.b2 = nn.Parameter(torch.randn(channels * width) * SPREAD)

    def rows(self, vectors: Tensor, passes: Tensor) -> Tensor:
        """h of vectors [B, N, Z] of so many passes [B]: [B, N, O, Z]."""
        found = vectors.flatten(0, 1) @ self.w2
        return (found.unflatten(0, vectors.shape[:2]) + passes[:, None, None] * self.b2).unflatten(
            2, (-1, len(self.w2))
        )

    def change(self, rows: Tensor, passes: Tensor) -> Tensor:
        """The change of one layer, of its h [B, O, Z]: [B, O, I, 3, 3]."""
        found = rows @ self.w1 + passes[:, None, None] * self.b1
        return found.unflatten(2, (-1, 3, 3))


class HyperNet(nn.Module):
    """Photo and reconstruction [B, 6, H, W] in [-1, 1] -> the vectors of all changed layers [B, N, Z].

    `gains` makes relative changes of weights of them. `latent_avg` [L, D] is the mean code to which the W encoder's is
    added.
    """

    latent_avg: Tensor

    def __init__(self, config: HyperNetConfig):
        super().__init__()
        self.config = config
        width = config.widths[-1]
        self.body = ResNetBody(config.blocks, config.widths, channels=6)
        self.heads = nn.ModuleList(Head(config, layer) for layer in config.layers)
        self.shared = SharedHyperNet(width, config.wide) if any(map(config.is_wide, config.layers)) else None
        self.outputs: Any = nn.ModuleDict(
            {
                str(layer): nn.Linear(width, config.outputs[layer] * config.inputs[layer])
                for layer in config.layers
                if not config.is_wide(layer)
            }
        )
        self.register_buffer("latent_avg", torch.zeros(config.latent_rows, config.style_dim))

    def forward(self, pair: Tensor) -> Tensor:
        """ValueError for pictures of another size than `input_size`."""
        if max(pair.shape[2:]) != self.config.input_size:
            raise ValueError(
                f"this hypernetwork looks at pictures of {self.config.input_size} px (the larger side), "
                f"got {list(pair.shape)}"
            )
        feature = self.body(pair)[-1]
        return torch.stack([head(feature) for head in self.heads], 1)

    def gains(self, vectors: Tensor, passes: Tensor) -> Gains:
        """Relative changes of weights by layer, for `Changes(weight_gains=...)`, of the sum of the vectors [B, N, Z] of
        so many passes [B]."""
        return Gains(self, vectors, passes.to(vectors))


class Gains(Mapping[int, Tensor]):
    """Layer -> [B, O, I, 3, 3] or [B, O, I, 1, 1], each made when it is asked for: together they are 94 MB a photo of
    the released size. earlier: what was found before, which is added without a gradient."""

    def __init__(self, network: HyperNet, vectors: Tensor, passes: Tensor, earlier: Gains | None = None):
        self.network, self.vectors, self.passes, self.earlier = network, vectors, passes, earlier
        self._rows: Tensor | None = None  # of all wide layers at once, so that w2, by far the largest, is read once

    def __iter__(self) -> Iterator[int]:
        return iter(self.network.config.layers)

    def __len__(self) -> int:
        return len(self.network.config.layers)

    def __getitem__(self, layer: int) -> Tensor:
        network, config = self.network, self.network.config
        if layer not in config.layers:
            raise KeyError(layer)
        inputs, outputs = config.inputs[layer], config.outputs[layer]
        if config.is_wide(layer):
            assert network.shared is not None
            places = [place for place, other in enumerate(config.layers) if config.is_wide(other)]
            if self._rows is None:
                self._rows = network.shared.rows(self.vectors[:, places], self.passes)
            rows = self._rows[:, places.index(config.layers.index(layer))]
            found = network.shared.change(rows, self.passes)
        else:
            head: Any = network.outputs[str(layer)]
            vector = self.vectors[:, config.layers.index(layer)]
            found = (vector @ head.weight.t() + self.passes[:, None] * head.bias).view(-1, outputs, inputs, 1, 1)
        if self.earlier is None:
            return found
        with torch.no_grad():
            before = self.earlier[layer]
        return found + before
