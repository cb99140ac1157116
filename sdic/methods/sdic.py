"""SDIC: compensate the code and one generator feature by the discrepancy that e4e left, then edit both.

Shapes: B batch, H and W input size, L latent rows, D style width, C/h/w the compensated feature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import Tensor, nn

from sdic.direction import Direction
from sdic.errors import ConfigError
from sdic.methods.features import check_layer, first_pass, first_reconstruction
from sdic.methods.refining import Refiner
from sdic.methods.registry import register
from sdic.networks.compensator import Compensator
from sdic.networks.dicn import DICN, DICNConfig
from sdic.networks.dipn import DIPN, DIPNConfig
from sdic.networks.e4e import E4E
from sdic.networks.stylegan2 import Generator
from sdic.settings import require, setting
from sdic.types import Geometry, Inversion


@dataclass
class SDICSettings:
    """What a training says about DIPN and DICN."""

    preset: Literal["released", "paper"] = setting("paper", "which text DIPN and DICN follow")
    layer: int = setting(7, "the compensated layer k of the generator")
    map: Literal["predicted", "difference", "refined"] = setting(
        "predicted",
        "the discrepancy map: predicted by DIPN as in the paper; difference (of photo and first reconstruction) or "
        "refined (by DIPN) where there are minutes, not days; the others may start from a difference run",
    )
    spatial_contextual: bool = setting(True, "DIPN's spatial-contextual branch (Table 2, Figure 4a)")
    attention: bool = setting(True, "DIPN fuses its guides by attention (Table 2)")
    fusion: Literal["attention", "affine"] = setting("attention", "how DICN fuses map and feature (Figure 4b)")

    def __post_init__(self) -> None:
        require(self.layer >= 1, f"model.layer must be 1 or more, got {self.layer}")


@dataclass
class SDICOptions:
    """How SDIC compensates and edits."""

    layer: int = setting(7, "the compensated layer k of the generator")
    paradigm: Literal["compensate-edit", "edit-compensate"] = setting(
        "compensate-edit", "what comes first; edit-compensate is the ablation of Figure 4c"
    )
    rule: Literal["carried", "paper", "released"] = setting(
        "carried",
        "how the feature follows an edit: what was compensated is carried along with the motion that the edit makes in "
        "the generator; or it stays, by G_k(w + edit) - G_k(w) (paper, eq. 6); or as the authors' code does, by "
        "G_k(w' + edit) - G_k(w) (released); there, strength 0 is not the inversion",
    )


@register
class SDICInverter(Refiner):
    """photo -> w = e4e(photo) -> R_o, F = G(w) -> D = DIPN(photo, R_o) -> w', F' = DICN(D, w, F) -> picture."""

    method = "sdic"
    networks = {"generator": "generator", "encoder": "encoder", "dipn": "dipn", "dicn": "dicn"}  # noqa: RUF012
    Options = SDICOptions
    edit_options = ("rule", "paradigm")
    edit_variants = {  # noqa: RUF012
        "paper": {"rule": "paper"},
        "carried": {"rule": "carried"},
        "released": {"rule": "released"},
        "edit_compensate": {"paradigm": "edit-compensate"},
    }
    trains = ("dipn", "dicn")
    stored = ("latent", "initial")
    channels_last = True
    Settings = SDICSettings
    released = {"preset": "released"}  # noqa: RUF012
    tiny = {**released, "layer": 3}  # noqa: RUF012 - 16x16, a quarter of the output, as layer 7 is of 256 px
    encoder: E4E
    dipn: DIPN
    dicn: DICN

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        super().__init__(networks, geometry, options)
        channels = self.generator.config.layer_channels(self.layer)
        if channels != self.dicn.config.feature_channels:
            raise ConfigError(
                f"DICN compensates a feature of {self.dicn.config.feature_channels} channels, layer {self.layer} of "
                f"the generator has {channels}"
            )

    @property
    def layer(self) -> int:
        """The compensated layer k."""
        return self.options.layer

    @property
    def compensator(self) -> Compensator:
        """DIPN and DICN as one network."""
        return Compensator(self.dipn, self.dicn)

    def _frozen_pass(self, photo: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return first_pass(self.first_code, self.generator, photo, known, self.layer, self.geometry, self.noise)

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        """In training w' and F' carry a gradient, and above layer k the generator's activations and styles. Below it
        only the RGB branch does, a picture rendered from w'. Layer k's own convolution is not run: F' is its output.
        """
        first = self.frozen_pass(photo) if frozen is None else frozen
        latent, base, initial = first["latent"], first["feature"], first["initial"]
        enhanced = self.compensator(photo, initial, latent, base)
        return Inversion(
            image=self.render(enhanced.latent, enhanced.feature, self.layer),
            latent=enhanced.latent,
            base_latent=latent,
            feature=enhanced.feature,
            layer=self.layer,
            extras={"base_feature": base, "initial_image": initial, "discrepancy": enhanced.discrepancy},
        )

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        """DIPN and DICN. To and from the plain difference, which needs no DIPN, a held DICN gets a new one."""
        sizes = generator.config
        check_layer(settings.layer, sizes)
        dipn = DIPNConfig(settings.preset, settings.spatial_contextual, settings.attention, settings.map)
        dicn = DICNConfig(
            sizes.latent_rows,
            sizes.style_dim,
            feature_channels=sizes.layer_channels(settings.layer),
            feature_size=sizes.layer_resolution(settings.layer),
            map_size=max(geometry.input_size),
            preset=settings.preset,
            fusion=settings.fusion,
        )
        if held is None:
            started: Any = DICN(dicn)
            return {"dipn": DIPN(dipn), "dicn": started}
        first, started = held["dipn"], held["dicn"]
        if settings.map != first.config.map and "difference" in (settings.map, first.config.map):  # type: ignore[union-attr]
            first = DIPN(dipn)
        wrong = [
            f"model.{name} is {getattr(asked, name)} and the file has {getattr(found, name)}"
            for asked, found, names in (
                (dipn, first.config, ("map", "preset", "spatial_contextual", "attention")),
                (dicn, started.config, ("fusion", "feature_channels", "latent_rows", "style_dim")),
            )
            for name in names
            if getattr(asked, name) != getattr(found, name)
        ]
        if wrong:
            raise ConfigError("; ".join(wrong))
        return {"dipn": first, "dicn": started}

    def stages(self, inversion: Inversion) -> list[Tensor]:
        """First reconstruction and discrepancy map (grey is no discrepancy)."""
        discrepancy = inversion.extras["discrepancy"]
        spread = discrepancy.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        return [inversion.extras["initial_image"], discrepancy / spread]

    @property
    def keeps_unmoved(self) -> bool:
        return self.options.rule != "released"

    def _edit(self, inversion: Inversion, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> Tensor:
        if self.options.paradigm == "compensate-edit":
            return super()._edit(inversion, directions, strengths)
        if inversion.photo is None:
            raise ConfigError("edit-compensate looks at the photo again, and this inversion holds none")
        latent = inversion.base_latent + self.shift(inversion.latent, directions, strengths)
        base, initial = first_reconstruction(self.generator.synthesis, latent, self.layer, self.geometry, self.noise)
        enhanced = self.compensator(inversion.photo, initial, latent, base)
        return self.render(enhanced.latent, enhanced.feature, self.layer)

    def _edited_feature(self, inversion: Inversion, shift: Tensor) -> Tensor:
        if self.options.rule == "released":
            inversion = replace(inversion, base_latent=inversion.latent)
        return super()._edited_feature(inversion, shift)
