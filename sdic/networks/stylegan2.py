"""The StyleGAN2 generator (config-f family), mapping and synthesis apart, with doors in the synthesis.

Shapes: B batch, L latent rows, D style width, I and O channels, R output size.

A generator of size R has L = 2 log2(R) - 2 latent rows and L - 1 convolutions. Convolution k uses latent row k and is
called layer k: layer 0 is the 4x4 one, odd layers double the size, even layers keep it and are followed by an RGB
output that uses row k + 1. "Layer 7" of the SDIC paper is the upsampling convolution to 64x64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.changes import Changes, Noise, Styles
from sdic.errors import ConfigError
from sdic.networks.layers import GAIN, EqualLinear, shrink
from sdic.ops import StyledConvWeights, styled_conv, upsample_rgb
from sdic.types import GeneratorState

UNCHANGED = Changes()


@dataclass(frozen=True)
class GeneratorConfig:
    """The sizes of a generator; every other size follows.

    resolution: output size R, a power of two from 16 to 1024.
    style_dim: D.
    mapping_layers: depth of the mapping network.
    channel_base, channel_max: a feature of size r has min(channel_base / r, channel_max) channels.
    channels: if given, the channels at 4, 8, ..., R instead.
    """

    resolution: int = 1024
    style_dim: int = 512
    mapping_layers: int = 8
    channel_base: int = 32768
    channel_max: int = 512
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.resolution not in (16, 32, 64, 128, 256, 512, 1024):
            raise ConfigError(f"generator resolution must be a power of two from 16 to 1024, got {self.resolution}")
        if self.channels is not None:
            object.__setattr__(self, "channels", tuple(self.channels))
            if len(self.channels) != int(math.log2(self.resolution)) - 1:
                raise ConfigError(
                    f"channels must list one width for each of 4 .. {self.resolution}, got {self.channels}"
                )

    @property
    def latent_rows(self) -> int:
        """L."""
        return 2 * int(math.log2(self.resolution)) - 2

    @property
    def layers(self) -> int:
        """The number of convolutions, L - 1."""
        return self.latent_rows - 1

    def layer_resolution(self, layer: int) -> int:
        """Size of the feature after `layer`."""
        if not 0 <= layer < self.layers:
            raise ConfigError(f"a generator of {self.resolution} px has layers 0 .. {self.layers - 1}, not {layer}")
        return 4 << ((layer + 1) // 2)

    def layer_channels(self, layer: int) -> int:
        """Channels of the feature after `layer`."""
        return self.channels_at(self.layer_resolution(layer))

    def channels_at(self, resolution: int) -> int:
        """Channels of the features of a size."""
        if self.channels is not None:
            return self.channels[int(math.log2(resolution)) - 2]
        return min(self.channel_base // resolution, self.channel_max)


class Mapping(nn.Module):
    """z [B, D] -> w [B, D]: normalise, then fully connected layers with LeakyReLU(0.2)."""

    def __init__(self, style_dim: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(EqualLinear(style_dim, style_dim, lr_multiplier=0.01) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:
        w = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            w = F.leaky_relu(layer(w), 0.2) * GAIN
        return w


class SynthesisConv(nn.Module):
    """Layer k: y = leaky_relu(conv(x; W'', k) + strength * noise + bias) * sqrt(2), doubling the size where k is odd.

    W'_oi = s_i W_oi with the style s = affine(row k), and W''_oi = W'_oi / |W'_o| (demodulation).
    x [B, I, H, W], row of the latent [B, D] -> [B, O, H', W'].
    """

    noise: Tensor

    def __init__(self, layer: int, in_channels: int, out_channels: int, style_dim: int, resolution: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.affine = EqualLinear(style_dim, in_channels, bias_init=1.0)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))
        self.layer = layer
        self.upsample = layer % 2 == 1
        self.resolution = resolution
        self.scale = 1 / math.sqrt(in_channels * 9)

    def forward(self, x: Tensor, row: Tensor, changes: Changes = UNCHANGED) -> Tensor:
        style, weights = self.style(row, changes), self.weights(changes, len(x))
        noise, convolved = self.noise_map(changes.noise, len(x)), changes.convolved.get(self.layer)
        return styled_conv(x, style, weights, noise, self.upsample, convolved)

    def style(self, row: Tensor, changes: Changes = UNCHANGED) -> Tensor:
        """The style vector [B, I]."""
        given, shift = changes.styles.convs.get(self.layer), changes.style_shifts.convs.get(self.layer)
        return changed_style(self.affine, row, given, shift)

    def weights(self, changes: Changes, batch: int) -> StyledConvWeights:
        """The scaled weights: one for all images, or [B, O, I, 3, 3] where the changes differ from image to image."""
        return StyledConvWeights(self.changed_weight(changes, batch) * self.scale, None, self.bias)

    def changed_weight(self, changes: Changes, batch: int) -> Tensor:
        """weight * (1 + gain) + delta, [O, I, 3, 3] or [B, O, I, 3, 3]; the parameter itself where nothing changes."""
        weight: Tensor = self.weight
        gain, delta = changes.weight_gains.get(self.layer), changes.weights.get(self.layer)
        if gain is None and delta is None:
            return weight
        fitting = [(images, *weight.shape[:2], size, size) for images in (1, batch) for size in (1, 3)]
        for change in (gain, delta):
            check_shape(change, fitting, f"a change of layer {self.layer}'s weight")
        weight = weight if gain is None else weight * (1 + gain)
        weight = weight if delta is None else weight + delta
        return weight[0] if weight.ndim == 5 and len(weight) == 1 else weight

    def noise_map(self, source: Noise, batch: int) -> Tensor | None:
        """[1 or B, 1, H, W], scaled by the layer's strength; None where there is none."""
        if source == "none":
            return None
        if source == "fixed":
            noise = self.noise
        elif source == "random":
            noise = torch.randn(batch, 1, self.resolution, self.resolution, device=self.noise.device)
        elif isinstance(source, int):
            draw = torch.Generator().manual_seed(source * 1009 + self.layer)
            noise = torch.randn(self.noise.shape, generator=draw).to(self.noise)
        else:
            noise = source.get(self.layer, self.noise)
            check_shape(noise, [(n, *self.noise.shape[1:]) for n in (1, batch)], f"noise of layer {self.layer}")
        return noise * self.noise_strength


class ToRGB(nn.Module):
    """After even layer k: conv1x1(s * x) + bias with the style s = affine(row k + 1), without demodulation.

    x [B, I, H, W], row of the latent [B, D] -> [B, 3, H, W].
    """

    def __init__(self, layer: int, in_channels: int, style_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = EqualLinear(style_dim, in_channels, bias_init=1.0)
        self.layer = layer
        self.scale = 1 / math.sqrt(in_channels)

    def forward(self, x: Tensor, row: Tensor, changes: Changes = UNCHANGED) -> Tensor:
        return F.conv2d(x * self.style(row, changes)[:, :, None, None], self.weight * self.scale, self.bias)

    def style(self, row: Tensor, changes: Changes = UNCHANGED) -> Tensor:
        """The style vector [B, I]."""
        given, shift = changes.styles.rgb.get(self.layer), changes.style_shifts.rgb.get(self.layer)
        return changed_style(self.affine, row, given, shift)


def changed_style(affine: EqualLinear, row: Tensor, given: Tensor | None, shift: Tensor | None) -> Tensor:
    """The style [B, I] of a row [B, D]: affine(row), or what is given instead; and the shift."""
    if given is None and shift is None:
        return affine(row)
    for style in (given, shift):
        check_shape(style, [(n, len(affine.bias)) for n in (1, len(row))], "a style")
    style = affine(row) if given is None else given.expand(len(row), -1)
    return style if shift is None else style + shift


def check_shape(tensor: Tensor | None, fitting: Sequence[tuple[int, ...]], what: str) -> None:
    """ValueError where a tensor has none of the shapes."""
    if tensor is not None and tensor.shape not in fitting:
        raise ValueError(f"{what} must be one of {fitting}, got {list(tensor.shape)}")


class Synthesis(nn.Module):
    """Latent [B, L, D] -> image [B, 3, R, R] in about [-1, 1], with stops and starts after any layer.

    Each pass takes `noise` (see `Noise`), or `changes`, a record of everything that it is to do otherwise.
    """

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.const = nn.Parameter(torch.randn(1, config.channels_at(4), 4, 4))
        self.convs: Any = nn.ModuleList()
        self.to_rgb: Any = nn.ModuleList()
        for layer in range(config.layers):
            inputs = config.layer_channels(max(0, layer - 1))
            outputs, size = config.layer_channels(layer), config.layer_resolution(layer)
            self.convs.append(SynthesisConv(layer, inputs, outputs, config.style_dim, size))
            if layer % 2 == 0:
                self.to_rgb.append(ToRGB(layer, outputs, config.style_dim))

    def forward(
        self,
        latent: Tensor,
        start: GeneratorState | None = None,
        noise: Noise = "fixed",
        changes: Changes | None = None,
    ) -> Tensor:
        """The image [B, 3, R, R]; from `start` on, if given, with the rows of `latent` above its layer."""
        changes = self._changes(noise, changes)
        rgb = self._run(self._begin(latent, start), self.config.layers - 1, latent, changes).rgb
        assert rgb is not None
        return rgb

    def until(
        self,
        stop: int,
        latent: Tensor,
        start: GeneratorState | None = None,
        noise: Noise = "fixed",
        changes: Changes | None = None,
    ) -> GeneratorState:
        """The state after layer `stop`: its feature, and the RGB of the resolutions finished before it."""
        self.config.layer_resolution(stop)  # raises for a layer that does not exist
        if start is not None and start.layer >= stop:
            raise ConfigError(f"cannot run from layer {start.layer} to layer {stop}")
        changes = self._changes(noise, changes)
        before = self._run(self._begin(latent, start), stop - 1, latent, changes)
        return self._convolve(before, latent, changes)

    def rgb_below(
        self, layer: int, latent: Tensor, noise: Noise = "fixed", changes: Changes | None = None
    ) -> Tensor | None:
        """The RGB part of `until(layer, ...)` without the cost of its last convolution."""
        return self._run(self._begin(latent, None), layer - 1, latent, self._changes(noise, changes)).rgb

    def with_rgb(self, state: GeneratorState, latent: Tensor, changes: Changes = UNCHANGED) -> GeneratorState:
        """The state with the RGB of its own resolution in it, which an even layer finishes; other states as they are.

        To let another feature F' enter the next convolution, while the RGB of its resolution comes from the
        generator's own feature (FS, CLCAE, StyleFeatureEditor): resume from `replace(with_rgb(state, w), feature=F')`.
        """
        if state.layer % 2 or (state.rgb is not None and state.rgb.shape[-1] == state.feature.shape[-1]):
            return state
        fresh = self.to_rgb[state.layer // 2](state.feature, latent[:, state.layer + 1], changes)
        return replace(state, rgb=fresh if state.rgb is None else fresh + upsample_rgb(state.rgb))

    def shrunk(
        self,
        latent: Tensor,
        size: int,
        start: GeneratorState | None = None,
        noise: Noise = "fixed",
        changes: Changes | None = None,
    ) -> Tensor:
        """The image clamped to [-1, 1] and shrunk to [B, 3, size, size] as `shrink` does: what SDIC, HFGI and their
        relatives look at again after a first pass."""
        return shrink(self(latent, start, noise, changes).clamp(-1, 1), size)

    def styles(self, latent: Tensor, changes: Changes = UNCHANGED) -> Styles:
        """All style vectors of a latent, which `Changes(styles=...)` takes back: 26 of them at 1024 px."""
        return Styles(
            {layer: self.convs[layer].style(latent[:, layer], changes) for layer in range(self.config.layers)},
            {2 * i: output.style(latent[:, 2 * i + 1], changes) for i, output in enumerate(self.to_rgb)},
        )

    def _run(self, state: GeneratorState, last: int, latent: Tensor, changes: Changes) -> GeneratorState:
        """Layers up to `last`, each even one followed by its RGB."""
        state = self.with_rgb(state, latent, changes)
        while state.layer < last:
            state = self._advance(state, last, latent, changes)
        return state

    def _advance(self, state: GeneratorState, last: int, latent: Tensor, changes: Changes) -> GeneratorState:
        """One layer and its RGB, or several of those up to `last`."""
        return self.with_rgb(self._convolve(state, latent, changes), latent, changes)

    def _convolve(self, state: GeneratorState, latent: Tensor, changes: Changes) -> GeneratorState:
        layer = state.layer + 1
        return GeneratorState(layer, self.convs[layer](state.feature, latent[:, layer], changes), state.rgb)

    def _begin(self, latent: Tensor, start: GeneratorState | None) -> GeneratorState:
        """`start`, or the constant as the state before layer 0. ValueError for shapes that do not fit."""
        check_shape(latent, [(len(latent), self.config.latent_rows, self.config.style_dim)], "latent")
        if start is None:
            return GeneratorState(-1, self.const.expand(len(latent), -1, -1, -1), None)
        channels, size = self.config.layer_channels(start.layer), self.config.layer_resolution(start.layer)
        fitting = [(n, channels, size, size) for n in (1, len(latent))]
        check_shape(start.feature, fitting, f"the feature at layer {start.layer}")
        sizes = (size // 2,) if start.layer % 2 else (size // 2, size)
        if start.layer > 0 and (start.rgb is None or start.rgb.shape[-1] not in sizes):
            raise ValueError(f"a state after layer {start.layer} has an RGB of {' or '.join(map(str, sizes))} px")
        return start

    def _changes(self, noise: Noise, changes: Changes | None) -> Changes:
        """The record of a pass."""
        if changes is not None and noise != "fixed":
            raise ConfigError("give the noise of a pass in its changes: Changes(noise=...), not beside them")
        changes = Changes(noise) if changes is None else changes
        changes.check(self.config.layers)
        return changes


class Generator(nn.Module):
    """StyleGAN2: `mapping` z -> w, `synthesis` W+ -> image, and the mean code `latent_avg` [D]."""

    latent_avg: Tensor

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.style_dim, config.mapping_layers)
        self.synthesis = Synthesis(config)
        self.register_buffer("latent_avg", torch.zeros(config.style_dim))

    def forward(self, z: Tensor, truncation: float = 1.0, noise: Noise = "fixed") -> Tensor:
        """z [B, D], standard normal -> image [B, 3, R, R] in about [-1, 1]."""
        return self.synthesis(self.latent(z, truncation), noise=noise)

    def latent(self, z: Tensor, truncation: float = 1.0) -> Tensor:
        """z [B, D] -> [B, L, D], the same w in every row, moved towards the mean by `truncation` < 1."""
        w = self.latent_avg + truncation * (self.mapping(z) - self.latent_avg)
        return w[:, None].expand(-1, self.config.latent_rows, -1)

    @torch.no_grad()
    def mean_latent(self, count: int = 10000, seed: int = 0) -> Tensor:
        """The mean of w over `count` draws from `seed`: [D]."""
        z = torch.randn(count, self.config.style_dim, generator=torch.Generator().manual_seed(seed))
        return self.mapping(z.to(self.latent_avg)).mean(0)
