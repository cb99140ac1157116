"""StyleGAN2's synthesis made fast: the classes of `networks.stylegan2` with other ways to the same numbers.

- The scaled weights of frozen layers are kept between passes, and their Winograd transform where that is faster.
- One image without gradients: everything is folded into the convolution (`fast.folding`), and on a CPU the large
  blocks are computed in strips of rows (`fast.strips`).
- The picture at input size is computed only where shrinking reads it.

With gradients, in batches, and inside `use_reference()` the networks compute as they are written, with kept weights.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.changes import Changes, Noise
from sdic.fast import winograd
from sdic.fast.folding import FrozenWeights, fold, styled_conv_of_one
from sdic.fast.strips import FoldedBlock, block_in_strips, last_block_subsampled, strip_rows
from sdic.networks.stylegan2 import UNCHANGED, Synthesis, SynthesisConv, ToRGB
from sdic.ops import StyledConvWeights, is_reference, styled_conv, upsample_rgb
from sdic.ops.modulated_conv import CHANNELS_LAST
from sdic.types import GeneratorState


def accelerate(module: nn.Module) -> nn.Module:
    """Let every StyleGAN2 synthesis below `module` compute by its fast form, in place, and return `module`.

    Parameters, their names and what is computed stay; layers whose weights train compute as they are written.
    """
    for part in module.modules():
        if type(part) in FAST:
            part.__class__ = FAST[type(part)]
    return module


class FastConv(SynthesisConv):
    """A styled convolution with kept weights, folded for one image."""

    _frozen: tuple[tuple[object, ...], FrozenWeights] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy begins without kept weights."""
        return {name: value for name, value in self.__dict__.items() if name != "_frozen"}

    def forward(self, x: Tensor, row: Tensor, changes: Changes = UNCHANGED) -> Tensor:
        if torch.is_grad_enabled() or is_reference():
            return super().forward(x, row, changes)
        style, weights = self.style(row, changes), self.weights(changes, len(x))
        noise, convolved = self.noise_map(changes.noise, len(x)), changes.convolved.get(self.layer)
        if len(x) == 1:
            return styled_conv_of_one(x, style, weights, noise, self.upsample, convolved)
        if weights.weight.ndim == 4 or convolved is not None:
            return styled_conv(x, style, weights, noise, self.upsample, convolved)
        images = []
        for i, own in enumerate(weights.weight):  # every image has a weight of its own
            part = noise if noise is None or len(noise) == 1 else noise[i : i + 1]
            one = StyledConvWeights(own, None, self.bias)
            images.append(styled_conv_of_one(x[i : i + 1], style[i : i + 1], one, part, self.upsample))
        return torch.cat(images)

    def weights(self, changes: Changes, batch: int) -> StyledConvWeights:
        """The scaled weights; those of a frozen layer without changes are kept until the parameter changes."""
        weight = self.changed_weight(changes, batch)
        if weight is not self.weight or weight.requires_grad:
            return StyledConvWeights(weight * self.scale, None, self.bias)
        key = (weight.data_ptr(), weight._version, weight.dtype, weight.device, self.bias.data_ptr())
        if self._frozen is None or self._frozen[0] != key:
            scaled = (weight * self.scale).contiguous(memory_format=CHANNELS_LAST)
            suited = winograd.suits(*scaled.shape[1::-1], *self.noise.shape[2:])
            transformed = None
            if suited and scaled.device.type == "cpu" and not self.upsample:
                transformed = winograd.transform_weight(scaled)
            self._frozen = (key, FrozenWeights(scaled, scaled.square().sum((2, 3)), self.bias, transformed))
        return self._frozen[1]


class FastToRGB(ToRGB):
    """The RGB output, its style folded into the weight for one image."""

    def forward(self, x: Tensor, row: Tensor, changes: Changes = UNCHANGED) -> Tensor:
        if len(x) > 1:
            return super().forward(x, row, changes)
        return F.conv2d(x, self.folded(row, changes), self.bias)

    def folded(self, row: Tensor, changes: Changes) -> Tensor:
        """The weight [3, I, 1, 1] with the style of one image, row [1, D], in it."""
        return self.weight * self.scale * self.style(row, changes)[0][None, :, None, None]


class FastSynthesis(Synthesis):
    """A synthesis whose large blocks are computed in strips: on a CPU, one image, no gradients."""

    def shrunk(
        self,
        latent: Tensor,
        size: int,
        start: GeneratorState | None = None,
        noise: Noise = "fixed",
        changes: Changes | None = None,
    ) -> Tensor:
        """As the plain form. Where R / size is 4 or 8, strips skip the pixels of the last layer that shrinking never
        reads (three in four at R / size = 4)."""
        factor, last = self.config.resolution // size, self.config.layers - 1
        record = self._changes(noise, changes)
        whole = factor * size == self.config.resolution and factor in (4, 8)
        if not whole or not self._in_strips(last, latent, record) or (start is not None and start.layer >= last - 2):
            return super().shrunk(latent, size, start, noise, changes)
        state = self._run(self._begin(latent, start), last - 2, latent, record)
        assert state.rgb is not None
        taps = last_block_subsampled(state.feature, self._folded_block(last - 1, latent, record), factor)
        skip = upsample_rgb(state.rgb) + self.to_rgb[last // 2].bias[:, None, None]
        tiles = skip.reshape(1, 3, size, factor, size, factor)
        middle = slice(factor // 2 - 1, factor // 2 + 1)
        taps = taps + tiles[:, :, :, middle, :, middle].permute(0, 1, 3, 5, 2, 4)
        return taps.clamp(-1, 1).mean((2, 3))

    def _advance(self, state: GeneratorState, last: int, latent: Tensor, changes: Changes) -> GeneratorState:
        """The next two layers and their RGB, where they are computed in strips."""
        end = state.layer + 2
        if end % 2 or end > last or not self._in_strips(end, latent, changes):
            return super()._advance(state, last, latent, changes)
        keep = end < self.config.layers - 1  # nothing reads the feature of the last layer
        feature, fresh = block_in_strips(state.feature, self._folded_block(end - 1, latent, changes), keep)
        assert state.rgb is not None
        rgb = fresh.add_(self.to_rgb[end // 2].bias[:, None, None]).add_(upsample_rgb(state.rgb))
        return GeneratorState(end, state.feature if feature is None else feature, rgb)

    def _in_strips(self, layer: int, latent: Tensor, changes: Changes) -> bool:
        """Whether the block that ends in `layer` is computed in strips: large, and nothing acts inside it."""
        if len(latent) != 1 or latent.device.type != "cpu" or torch.is_grad_enabled() or is_reference():
            return False
        size = self.config.layer_resolution(layer)
        inside = layer in changes.convolved or layer - 1 in changes.convolved
        return size > strip_rows(size, self.config.channels_at(size)) and not inside

    def _folded_block(self, layer: int, latent: Tensor, changes: Changes) -> FoldedBlock:
        """The block that begins with `layer`, for one image: its style folded into its weights, and its noise."""
        convs: list[Any] = [self.convs[layer], self.convs[layer + 1]]
        folded = [fold(conv.style(latent[:, conv.layer], changes), conv.weights(changes, 1)) for conv in convs]
        noises = [conv.noise_map(changes.noise, 1) for conv in convs]
        rgb = self.to_rgb[(layer + 1) // 2].folded(latent[:, layer + 2], changes)
        return FoldedBlock(folded[0], folded[1], noises[0], noises[1], rgb)


FAST: dict[type[nn.Module], type[nn.Module]] = {Synthesis: FastSynthesis, SynthesisConv: FastConv, ToRGB: FastToRGB}
