"""Methods whose feature enters the generator's next convolution (FS, CLCAE, StyleFeatureEditor).

Layer k is even: the second convolution of a resolution. The RGB of that resolution comes from the generator's own
feature, not from the method's.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sdic.errors import ConfigError
from sdic.methods.base import Inverter
from sdic.types import GeneratorState


class NextFeatureInverter(Inverter):
    """Renders a feature that enters the convolution behind `layer`."""

    def render(self, latent: Tensor, feature: Tensor, layer: int) -> Tensor:
        """G resumed behind `layer` from a feature; rows, and the RGB up to that resolution, from `latent`."""
        return self.resume(latent, replace(self.own_state(latent, layer), feature=feature))

    def own_state(self, latent: Tensor, layer: int) -> GeneratorState:
        """The generator's own state after `layer`, with the RGB of that resolution in it."""
        synthesis = self.generator.synthesis
        return synthesis.with_rgb(synthesis.until(layer, latent, noise=self.noise), latent)

    def check_layer(self, layer: int, channels: int) -> None:
        """ConfigError where a feature of so many channels cannot enter behind `layer`."""
        sizes = self.generator.config
        if layer % 2 or not 0 < layer < sizes.layers - 1:
            even = ", ".join(map(str, range(2, sizes.layers - 1, 2)))
            raise ConfigError(f"layer={layer}: method {self.method!r} enters behind an even layer, one of {even}")
        if sizes.layer_channels(layer) != channels:
            raise ConfigError(
                f"layer={layer}: the generator has {sizes.layer_channels(layer)} channels there, the method's feature "
                f"has {channels}"
            )
