"""StyleRes (Pehlivan et al., CVPR 2023): a network completes the generator's feature, of the code or of its edit.

Shapes: B batch, L latent rows, D style width, C/h/w the completed feature, S channels of the encoder's feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.methods.base import Inverter
from sdic.methods.features import check_layer, held_by, made_or_held
from sdic.methods.registry import register
from sdic.networks.e4e import E4E
from sdic.networks.stylegan2 import Generator
from sdic.networks.styleres import ResidualTransform, ResidualTransformConfig
from sdic.settings import setting
from sdic.types import Geometry, Inversion


@dataclass
class StyleResSettings:
    """What a training says about the networks E1 and E2."""

    layer: int = setting(7, "the layer k of the generator whose feature is completed")
    skip_channels: int = setting(128, "channels of the encoder's feature at a quarter of the photo")


@dataclass
class StyleResOptions:
    """How StyleRes compensates and edits."""

    layer: int = setting(7, "the layer k of the generator whose feature is completed")
    rule: Literal["completed", "carried", "paper"] = setting(
        "completed",
        "how the compensation follows an edit: the edited code's own feature is completed anew (StyleRes's own); or "
        "what was compensated is carried along with the motion that the edit makes in the generator, or stays at its "
        "place (paper: eq. 6 of SDIC's)",
    )


@register
class StyleResInverter(Inverter):
    """photo -> w, skip = e4e(photo) -> F = G_k(w) -> X = E1(skip, F) -> offset, gate = E2(F, X)
    -> F' = F + gate * offset -> picture."""

    method = "styleres"
    networks = {"generator": "generator", "encoder": "encoder", "transform": "residual_transform"}  # noqa: RUF012
    Options, Settings = StyleResOptions, StyleResSettings
    edit_options = ("rule",)
    edit_variants = {rule: {"rule": rule} for rule in ("completed", "carried", "paper")}  # noqa: RUF012
    trains = ("transform",)
    stored = ("latent", "skip")
    tiny = {"layer": 3, "skip_channels": 24}  # noqa: RUF012 - 16x16, a quarter of the output, as layer 7 is of 256 px
    encoder: E4E
    transform: ResidualTransform

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        super().__init__(networks, geometry, options)
        sizes = self.transform.config
        wanted, found = (
            (sizes.feature_channels, sizes.skip_channels),
            (self.generator.config.layer_channels(self.layer), self.encoder.config.widths[1]),
        )
        if wanted != found:
            raise ConfigError(
                f"StyleRes's networks are for {wanted[0]} channels at the generator and {wanted[1]} at the encoder; "
                f"layer {self.layer} and this encoder have {found[0]} and {found[1]}"
            )

    @property
    def layer(self) -> int:
        """The layer k whose feature is completed."""
        return self.options.layer

    def _frozen_pass(self, photo: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """latent: e4e's code w [B, L, D]. skip: its feature at a quarter of the photo [B, S, H/4, W/4]. feature: G_k(w)
        [B, C, h, h]."""
        latent, skip = known.get("latent"), known.get("skip")
        if latent is None or skip is None:
            latent, skip = self.encoder.with_skip(photo)
        feature = self.generator.synthesis.until(self.layer, latent.to(photo), noise=self.noise).feature
        return {"latent": latent.to(photo), "skip": skip, "feature": feature}

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        first = self.frozen_pass(photo) if frozen is None else frozen
        latent, base = first["latent"], first["feature"]
        extracted = self.transform.extract(first["skip"], base)
        feature = self.transform(base, extracted).completed(base)
        return Inversion(
            image=self.render(latent, feature, self.layer),
            latent=latent,
            base_latent=latent,
            feature=feature,
            layer=self.layer,
            extras={"base_feature": base, "extracted": extracted},
        )

    def _edited_feature(self, inversion: Inversion, shift: Tensor) -> Tensor:
        if self.options.rule != "completed":
            return super()._edited_feature(inversion, shift)
        moved = inversion.base_latent + shift
        feature = self.generator.synthesis.until(self.layer, moved, noise=self.noise).feature
        return self.transform(feature, held_by(inversion, "extracted", self.method)).completed(feature)

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        check_layer(settings.layer, generator.config)
        config = ResidualTransformConfig(generator.config.layer_channels(settings.layer), settings.skip_channels)
        return made_or_held({"transform": (ResidualTransform, config)}, held)
