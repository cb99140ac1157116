"""Methods whose feature enters the generator's next convolution (FS, CLCAE, StyleFeatureEditor).

Layer k is even: the second convolution of a resolution. The RGB of that resolution comes from the generator's own
feature, not from the method's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from sdic.errors import ConfigError
from sdic.methods.base import Inverter
from sdic.networks.feature_style import FeatureStyleConfig
from sdic.networks.stylegan2 import GeneratorConfig
from sdic.types import GeneratorState, Geometry, Inversion


class NextFeatureInverter(Inverter):
    """Renders a feature that enters the convolution behind `layer`."""

    def render(self, latent: Tensor, feature: Tensor, layer: int) -> Tensor:
        """G resumed behind `layer` from a feature; rows, and the RGB up to that resolution, from `latent`."""
        return self.resume(latent, replace(self.own_state(latent, layer), feature=feature))

    def own_state(self, latent: Tensor, layer: int) -> GeneratorState:
        """The generator's own state after `layer`, with the RGB of that resolution in it."""
        synthesis = self.generator.synthesis
        return synthesis.with_rgb(synthesis.until(layer, latent, noise=self.noise), latent)

    def with_feature(self, latent: Tensor, state: GeneratorState, found: Tensor, share: float) -> Inversion:
        """The inversion with (1 - share) G_k(w) + share F behind `state`, the generator's own; below 1 it is the ramp
        of the authors' trainings. found: F [B, C, h, h]."""
        feature = found if share == 1 else (1 - share) * state.feature + share * found
        return Inversion(
            image=self.resume(latent, replace(state, feature=feature)),
            latent=latent,
            base_latent=latent,
            feature=feature,
            layer=state.layer,
            extras={"base_feature": state.feature},
        )

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


def encoder_sizes(
    settings: Any, sizes: GeneratorConfig, geometry: Geometry, content_strides: tuple[int, ...]
) -> FeatureStyleConfig:
    """The Feature-Style encoder of a training's `layer`, `blocks`, `widths` and `strides`.

    ConfigError where its feature has not the size of the layer's."""
    blocks, widths, strides = (tuple(getattr(settings, name)) for name in ("blocks", "widths", "strides"))
    channels, side = sizes.layer_channels(settings.layer), max(geometry.input_size)
    config = FeatureStyleConfig(
        sizes.latent_rows, sizes.style_dim, blocks, widths, strides, channels, content_strides=content_strides
    )
    found, wanted = config.feature_size(side), sizes.layer_resolution(settings.layer)
    if found != wanted:
        raise ConfigError(
            f"model.strides={list(strides)} and content strides of {list(content_strides)} make a feature of {found} "
            f"px of photos of {side} px, and layer {settings.layer} has {wanted} px"
        )
    return config


def ramp_of(images: int, ramp: int) -> float:
    """The share of F after so many images of a training whose ramp takes `ramp` (0: none)."""
    return min(1.0, images / ramp) if ramp else 1.0
