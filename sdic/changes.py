"""What one pass of a generator is to do otherwise than its file says: noise, weights, styles, by layer.

Shapes: B batch, I and O input and output channels of a layer, h and w size of its feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from sdic.errors import ConfigError

Noise = Literal["fixed", "none", "random"] | int | Mapping[int, Tensor]
"""Where a synthesis takes its noise from: the stored buffers, nowhere, the device's random state, a draw from a seed
(one map a layer, shared by the batch, the same whether the synthesis is run at once or in parts), or maps by layer,
[1 or B, 1, h, w] each, which the layer multiplies by its strength as it does the stored ones (other layers: stored)."""


@dataclass(frozen=True)
class Styles:
    """Style vectors, the outputs of a generator's affine layers, by layer.

    convs: layer k -> [1 or B, I], the style of convolution k.
    rgb: even layer k -> [1 or B, I], the style of the RGB output that follows it.
    """

    convs: Mapping[int, Tensor] = field(default_factory=dict)
    rgb: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Changes:
    """What one pass of a synthesis is to do otherwise. Every mapping goes by layer; layers that it does not name stay.

    noise: see `Noise`.
    weights: [1 or B, O, I, 3, 3], added to the weight of the convolution as files hold it (PTI).
    weight_gains: [1 or B, O, I, 3, 3] or [1 or B, O, I, 1, 1]; the weight is multiplied by 1 + gain (HyperStyle). Gains
    go first, then `weights` are added; both before style and demodulation.
    styles: style vectors that take the place of the latent's own.
    style_shifts: added to them (StyleSpace).
    convolved: a function from the modulated and demodulated convolution's output [B, O, h, w] to what takes its place
    before noise, bias and activation (SAMM).

    The layers are computed in order, and a pass reads an entry of `weights` and `weight_gains` once, when its layer is
    computed, and forgets it: a mapping may make its tensors on demand.
    """

    noise: Noise = "fixed"
    weights: Mapping[int, Tensor] = field(default_factory=dict)
    weight_gains: Mapping[int, Tensor] = field(default_factory=dict)
    styles: Styles = field(default_factory=Styles)
    style_shifts: Styles = field(default_factory=Styles)
    convolved: Mapping[int, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def check(self, layers: int) -> None:
        """ConfigError where a generator with so many convolutions has not the layers that are named here."""
        convs: list[Mapping[int, object]] = [self.weights, self.weight_gains, self.convolved]
        convs += [self.styles.convs, self.style_shifts.convs]
        if isinstance(self.noise, Mapping):
            convs.append(self.noise)
        outputs = [self.styles.rgb, self.style_shifts.rgb]
        wrong = {layer for part in convs for layer in part} - set(range(layers))
        wrong |= {layer for part in outputs for layer in part} - set(range(0, layers, 2))
        if wrong:
            raise ConfigError(
                f"changes name layers {sorted(wrong)}; the generator has layers 0 .. {layers - 1}, "
                "and RGB outputs after the even ones"
            )
