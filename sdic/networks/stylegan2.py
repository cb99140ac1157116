"""The StyleGAN2 generator (config-f family), mapping and synthesis apart, with doors in the synthesis.

Shapes: B batch, L latent rows, D style width, I and O channels, R output size.

A generator of size R has L = 2 log2(R) - 2 latent rows and L - 1 convolutions. Convolution k uses latent row k and is
called layer k: layer 0 is the 4x4 one, odd layers double the size, even layers keep it and are followed by an RGB
output that uses row k + 1. "Layer 7" of the SDIC paper is the upsampling convolution to 64x64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.networks.layers import GAIN, EqualLinear
from sdic.ops import StyledConvWeights, is_reference, styled_conv, upsample_rgb, winograd
from sdic.ops.modulated_conv import CHANNELS_LAST, fold
from sdic.ops.strips import FoldedBlock, block_in_strips, last_block_subsampled, strip_rows
from sdic.types import GeneratorState

Noise = Literal["fixed", "none", "random"] | int
"""Where a synthesis takes its noise from: the stored buffers, nowhere, the device's random state, or a draw from a seed
(one map a layer, shared by the batch, the same whether the synthesis is run at once or in parts)."""


@dataclass(frozen=True)
class GeneratorConfig:
    """The sizes of a generator; every other size follows.

    resolution: output size R, a power of two from 32 to 1024.
    style_dim: D. mapping_layers: depth of the mapping network.
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
        if self.resolution not in (32, 64, 128, 256, 512, 1024):
            raise ConfigError(f"generator resolution must be a power of two from 32 to 1024, got {self.resolution}")
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
    """One styled convolution with its noise: x [B, I, H, W], row of the latent [B, D] -> [B, O, H', W']."""

    noise: Tensor

    def __init__(self, in_channels: int, out_channels: int, style_dim: int, resolution: int, *, upsample: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.affine = EqualLinear(style_dim, in_channels, bias_init=1.0)
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise", torch.randn(1, 1, resolution, resolution))
        self.upsample = upsample
        self.resolution = resolution
        self.scale = 1 / math.sqrt(in_channels * 9)
        self._frozen: tuple[tuple[object, ...], StyledConvWeights] | None = None

    def weights(self) -> StyledConvWeights:
        """The scaled weights; for a frozen layer they are computed once and kept until the parameter changes."""
        if self.weight.requires_grad:
            return StyledConvWeights(self.weight * self.scale, None, self.bias)
        key = (
            self.weight.data_ptr(),
            self.weight._version,
            self.weight.dtype,
            self.weight.device,
            self.bias.data_ptr(),
        )
        if self._frozen is None or self._frozen[0] != key:
            weight = (self.weight * self.scale).contiguous(memory_format=CHANNELS_LAST)
            transformed = None
            if (
                weight.device.type == "cpu"
                and not self.upsample
                and winograd.suits(*weight.shape[1::-1], *self.noise.shape[2:])
            ):
                transformed = winograd.transform_weight(weight)
            self._frozen = (key, StyledConvWeights(weight, weight.square().sum((2, 3)), self.bias, transformed))
        return self._frozen[1]

    def noise_map(self, source: Noise, layer: int, batch: int) -> Tensor | None:
        """[1 or B, 1, H, W], scaled by the layer's strength; None where there is none."""
        if source == "none":
            return None
        if source == "fixed":
            noise = self.noise
        elif source == "random":
            noise = torch.randn(batch, 1, self.resolution, self.resolution, device=self.noise.device)
        else:
            draw = torch.Generator().manual_seed(source * 1009 + layer)
            noise = torch.randn(self.noise.shape, generator=draw).to(self.noise)
        return noise * self.noise_strength

    def forward(self, x: Tensor, row: Tensor, noise: Tensor | None) -> Tensor:
        return styled_conv(x, self.affine(row), self.weights(), noise, self.upsample)


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB, without demodulation: x [B, I, H, W], row [B, D] -> [B, 3, H, W]."""

    def __init__(self, in_channels: int, style_dim: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.affine = EqualLinear(style_dim, in_channels, bias_init=1.0)
        self.scale = 1 / math.sqrt(in_channels)

    def folded(self, row: Tensor) -> Tensor:
        """The weight [3, I, 1, 1] with the style of one image, row [1, D], in it."""
        return self.weight * self.scale * self.affine(row)[0][None, :, None, None]

    def forward(self, x: Tensor, row: Tensor) -> Tensor:
        if len(x) == 1:
            return F.conv2d(x, self.folded(row), self.bias)
        return F.conv2d(x * self.affine(row)[:, :, None, None], self.weight * self.scale, self.bias)


class Synthesis(nn.Module):
    """Latent [B, L, D] -> image [B, 3, R, R] in about [-1, 1], with stops and starts after any layer."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.const = nn.Parameter(torch.randn(1, config.channels_at(4), 4, 4))
        self.convs = nn.ModuleList()
        self.to_rgb = nn.ModuleList()
        for layer in range(config.layers):
            inputs = config.layer_channels(max(0, layer - 1))
            outputs, size = config.layer_channels(layer), config.layer_resolution(layer)
            self.convs.append(SynthesisConv(inputs, outputs, config.style_dim, size, upsample=layer % 2 == 1))
            if layer % 2 == 0:
                self.to_rgb.append(ToRGB(outputs, config.style_dim))

    def forward(self, latent: Tensor, start: GeneratorState | None = None, noise: Noise = "fixed") -> Tensor:
        """The image [B, 3, R, R]; from `start` on, if given, with the rows of `latent` above its layer."""
        x, rgb, layer = self._begin(latent, start, noise)
        rgb = self._run(x, rgb, layer, self.config.layers - 1, latent, noise).rgb
        assert rgb is not None
        return rgb

    def until(
        self, stop: int, latent: Tensor, start: GeneratorState | None = None, noise: Noise = "fixed"
    ) -> GeneratorState:
        """The state after layer `stop`: its feature, and the RGB of the resolutions finished before it."""
        self.config.layer_resolution(stop)  # raises for a layer that does not exist
        if start is not None and start.layer >= stop:
            raise ConfigError(f"cannot run from layer {start.layer} to layer {stop}")
        x, rgb, layer = self._begin(latent, start, noise, stop)
        if layer == stop:
            return GeneratorState(stop, x, rgb)
        if layer < stop - 1:
            state = self._run(x, rgb, layer, stop - 1, latent, noise)
            x, rgb = state.feature, state.rgb
        return GeneratorState(stop, self._conv(stop, x, latent, noise), rgb)

    def rgb_below(self, layer: int, latent: Tensor, noise: Noise = "fixed") -> Tensor | None:
        """The RGB part of `until(layer, ...)` without the cost of its last convolution."""
        if layer == 0:
            return None
        x, rgb, first = self._begin(latent, None, noise)
        return self._run(x, rgb, first, layer - 1, latent, noise).rgb

    def subsampled(
        self, latent: Tensor, size: int, start: GeneratorState | None = None, noise: Noise = "fixed"
    ) -> Tensor:
        """The image clamped to [-1, 1] and shrunk to `size` by bilinear interpolation without antialiasing.

        Equal to interpolating `forward(...)`, but where R / size is 4 or 8, a single image without gradients skips
        the pixels of the last layer that this filter never reads (three in four at R / size = 4).
        """
        factor, last = self.config.resolution // size, self.config.layers - 1
        before = GeneratorState(-1, latent, None) if start is None else start
        if not self._in_strips(last, latent) or factor not in (4, 8) or before.layer >= last - 2:
            image = self.forward(latent, start, noise).clamp(-1, 1)
            return shrink(image, size)
        x, rgb, layer = self._begin(latent, start, noise)
        state = self._run(x, rgb, layer, last - 2, latent, noise)
        assert state.rgb is not None
        taps = last_block_subsampled(state.feature, self._folded_block(last - 1, latent, noise), factor)
        skip = upsample_rgb(state.rgb) + self._output(last).bias[:, None, None]
        tiles = skip.reshape(1, 3, size, factor, size, factor)
        middle = slice(factor // 2 - 1, factor // 2 + 1)
        taps = taps + tiles[:, :, :, middle, :, middle].permute(0, 1, 3, 5, 2, 4)
        return taps.clamp(-1, 1).mean((2, 3))

    def _begin(
        self, latent: Tensor, start: GeneratorState | None, noise: Noise, stop: int | None = None
    ) -> tuple[Tensor, Tensor | None, int]:
        """(feature, RGB with the feature's own resolution in it where that is finished, its layer)."""
        expected = (self.config.latent_rows, self.config.style_dim)
        if latent.ndim != 3 or tuple(latent.shape[1:]) != expected:
            raise ValueError(f"latent must be [B, {expected[0]}, {expected[1]}], got {list(latent.shape)}")
        if start is None:
            x = self._conv(0, self.const.expand(len(latent), -1, -1, -1), latent, noise)
            rgb, layer = None, 0
        else:
            x, rgb, layer = start.feature, start.rgb, start.layer
            shape = (self.config.layer_channels(layer), self.config.layer_resolution(layer))
            if tuple(x.shape[1:]) != (shape[0], shape[1], shape[1]):
                raise ValueError(
                    f"the feature at layer {layer} must be [B, {shape[0]}, {shape[1]}, {shape[1]}], got {list(x.shape)}"
                )
        if layer != stop and layer % 2 == 0:
            rgb = self._add_rgb(layer, x, rgb, latent)
        return x, rgb, layer

    def _run(
        self, x: Tensor, rgb: Tensor | None, layer: int, last: int, latent: Tensor, noise: Noise
    ) -> GeneratorState:
        """Layers `layer` + 1 .. `last`, each even one followed by its RGB."""
        while layer < last:
            if layer % 2 == 0 and layer + 2 <= last and self._in_strips(layer + 2, latent):
                keep = layer + 2 < self.config.layers - 1
                feature, fresh = block_in_strips(x, self._folded_block(layer + 1, latent, noise), keep)
                assert rgb is not None
                rgb = fresh.add_(self._output(layer + 2).bias[:, None, None]).add_(upsample_rgb(rgb))
                x = x if feature is None else feature  # the last feature is not kept: nothing reads it
                layer += 2
                continue
            layer += 1
            x = self._conv(layer, x, latent, noise)
            if layer % 2 == 0:
                rgb = self._add_rgb(layer, x, rgb, latent)
        return GeneratorState(last, x, rgb)

    def _layer(self, layer: int) -> SynthesisConv:
        return cast(SynthesisConv, self.convs[layer])

    def _output(self, layer: int) -> ToRGB:
        """The RGB output after an even layer."""
        return cast(ToRGB, self.to_rgb[layer // 2])

    def _conv(self, layer: int, x: Tensor, latent: Tensor, noise: Noise) -> Tensor:
        conv = self._layer(layer)
        return conv(x, latent[:, layer], conv.noise_map(noise, layer, len(latent)))

    def _add_rgb(self, layer: int, x: Tensor, rgb: Tensor | None, latent: Tensor) -> Tensor:
        """Add the RGB of the resolution that `layer` finishes to the upsampled RGB of the smaller ones."""
        fresh = self._output(layer)(x, latent[:, layer + 1])
        return fresh if rgb is None else fresh + upsample_rgb(rgb)

    def _in_strips(self, layer: int, latent: Tensor) -> bool:
        """Whether the block that ends in `layer` is computed in strips: large, on a CPU, one image, no gradients."""
        if len(latent) != 1 or latent.device.type != "cpu" or torch.is_grad_enabled() or is_reference():
            return False
        size = self.config.layer_resolution(layer)
        return size > strip_rows(size, self.config.channels_at(size))

    def _folded_block(self, layer: int, latent: Tensor, noise: Noise) -> FoldedBlock:
        """The block that begins with `layer`, for one image: its style folded into its weights, and its noise."""
        up, conv = self._layer(layer), self._layer(layer + 1)
        return FoldedBlock(
            fold(up.affine(latent[:, layer]), up.weights()),
            fold(conv.affine(latent[:, layer + 1]), conv.weights()),
            up.noise_map(noise, layer, 1),
            conv.noise_map(noise, layer + 1, 1),
            self._output(layer + 1).folded(latent[:, layer + 2]),
        )


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


def shrink(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Bilinear interpolation without antialiasing, as the release brings its pictures to 256 px. [B, 3, H, W]."""
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)
