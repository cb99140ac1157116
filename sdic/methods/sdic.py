"""SDIC: compensate the code and one generator feature by the discrepancy that e4e left, then edit both.

Shapes: B batch, H and W input size, L latent rows, D style width, C/h/w the compensated feature.
"""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor

from sdic.errors import ConfigError, did_you_mean
from sdic.methods.base import Inverter, Rule
from sdic.networks.compensator import Compensator
from sdic.networks.e4e import E4E
from sdic.networks.stylegan2 import Generator, Noise, Synthesis, shrink
from sdic.types import Geometry, Inversion

Paradigm = Literal["compensate-edit", "edit-compensate"]


class SDICInverter(Inverter):
    """photo -> w = e4e(photo) -> R_o, F = G(w) -> D = DIPN(photo, R_o) -> w', F' = DICN(D, w, F) -> picture.

    layer: the compensated layer k of the generator (the paper: 7). paradigm: "edit-compensate" is the ablation of
    Figure 4c.
    """

    method = "sdic"
    roles = ("generator", "encoder", "dipn", "dicn")
    edit_variants = {"edit_compensate": {"paradigm": "edit-compensate"}}  # noqa: RUF012 - read only

    def __init__(
        self,
        generator: Generator,
        encoder: E4E,
        compensator: Compensator,
        geometry: Geometry,
        layer: int = 7,
        paradigm: Paradigm = "compensate-edit",
    ):
        super().__init__(generator, geometry)
        if paradigm not in get_args(Paradigm):
            known = get_args(Paradigm)
            raise ConfigError(
                f"paradigm must be one of {', '.join(known)}, got {paradigm!r}{did_you_mean(str(paradigm), known)}"
            )
        if not isinstance(layer, int):
            raise ConfigError(f"layer must be a whole number, got {layer!r}")
        channels = generator.config.layer_channels(layer)
        if channels != compensator.dicn.config.feature_channels:
            raise ConfigError(
                f"DICN compensates a feature of {compensator.dicn.config.feature_channels} channels, layer {layer} of "
                f"the generator has {channels}"
            )
        self.encoder = encoder
        self.compensator = compensator
        self.layer = layer
        self.paradigm = paradigm

    def _invert(self, photo: Tensor) -> Inversion:
        latent = self.encoder(photo)
        base, initial = first_reconstruction(self.generator.synthesis, latent, self.layer, self.geometry, self.noise)
        enhanced = self.compensator(photo, initial, latent, base)
        return Inversion(
            image=self.render(enhanced.latent, enhanced.feature, self.layer),
            latent=enhanced.latent,
            base_latent=latent,
            feature=enhanced.feature,
            base_feature=base,
            initial_image=initial,
            discrepancy=enhanced.discrepancy,
            layer=self.layer,
        )

    def _edit(self, inversion: Inversion, shift: Tensor, rule: Rule) -> Tensor:
        if self.paradigm == "compensate-edit":
            return super()._edit(inversion, shift, rule)
        if inversion.photo is None:
            raise ConfigError("edit-compensate looks at the photo again, and this inversion holds none")
        latent = inversion.base_latent + shift
        base, initial = first_reconstruction(self.generator.synthesis, latent, self.layer, self.geometry, self.noise)
        enhanced = self.compensator(inversion.photo, initial, latent, base)
        return self.render(enhanced.latent, enhanced.feature, self.layer)


def first_reconstruction(
    synthesis: Synthesis, latent: Tensor, layer: int, geometry: Geometry, noise: Noise = "fixed"
) -> tuple[Tensor, Tensor]:
    """The feature G_k(w) [B, C, h, h], and R_o = G(w) as SDIC looks at it: clamped, at the input size [B, 3, H, W]."""
    state = synthesis.until(layer, latent, noise=noise)
    if geometry.crop is None and geometry.input_size[0] == geometry.input_size[1]:
        return state.feature, synthesis.subsampled(latent, geometry.input_size[0], state, noise)
    image = geometry.visible(synthesis(latent, state, noise)).clamp(-1, 1)
    return state.feature, shrink(image, geometry.input_size)
