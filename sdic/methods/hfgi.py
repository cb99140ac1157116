"""HFGI (Wang et al., CVPR 2022): a generator feature consults the distortion map, which is aligned anew for each edit.

Shapes: B batch, H and W input size, L latent rows, D style width, C/h/w the compensated feature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import RandomPerspective

from sdic.errors import ConfigError
from sdic.methods.features import check_layer, first_pass, first_reconstruction, held_by, made_or_held
from sdic.methods.passes import Step, TrainingPass
from sdic.methods.refining import Refiner
from sdic.methods.registry import register
from sdic.networks.e4e import E4E
from sdic.networks.hfgi import ADA, ADAConfig, Conditions, Consultation, ConsultationConfig
from sdic.networks.stylegan2 import Generator
from sdic.settings import at_least, require, setting
from sdic.types import Geometry, Inversion


@dataclass
class HFGISettings:
    """What a training says about ADA and the consultation encoder."""

    layer: int = setting(7, "the layer k of the generator whose feature consults the map")
    align: bool = setting(True, "ADA aligns the distortion map; false: the ablation without it")
    begin: Literal["drawn", "unfused"] = setting(
        "drawn",
        "scale and shift of a new consultation encoder: as its weights are drawn (the authors), or 0, so that training "
        "begins at the first reconstruction",
    )


@dataclass
class HFGILosses:
    """ADA's self-supervised term: the map is warped, and ADA has to undo it."""

    align: float = setting(0.1, "weight of L1(ADA(warped map), map)")
    warp: float = setting(0.15, "how far corners move in the warp, as a share of half the picture")
    warp_share: float = setting(0.9, "share of the steps in which the map is warped")

    def __post_init__(self) -> None:
        at_least(self, 0, "align warp", "loss.")
        require(0 <= self.warp_share <= 1, f"loss.warp_share must be 0 to 1, got {self.warp_share}")


@dataclass
class HFGIOptions:
    """How HFGI compensates and edits."""

    layer: int = setting(7, "the layer k of the generator whose feature consults the map")
    rule: Literal["realigned", "kept", "carried", "paper"] = setting(
        "realigned",
        "how the compensation follows an edit: the map is aligned with the edited reconstruction and consulted again "
        "(HFGI's own); or scale and shift of the inversion are kept, as in the authors' demo; or what was compensated "
        "is carried along with the motion that the edit makes in the generator, or stays at its place (paper: eq. 6 of "
        "SDIC's)",
    )


@register
class HFGIInverter(Refiner):
    """photo -> w = e4e(photo) -> R_o, F = G(w) -> Delta = photo - R_o -> Delta' = ADA(Delta, R_o) -> F' -> picture."""

    method = "hfgi"
    networks = {  # noqa: RUF012
        "generator": "generator",
        "encoder": "encoder",
        "ada": "ada",
        "consultation": "consultation",
    }
    Options = HFGIOptions
    edit_options = ("rule",)
    edit_variants = {rule: {"rule": rule} for rule in ("realigned", "kept", "carried", "paper")}  # noqa: RUF012
    trains = ("ada", "consultation")
    stored = ("latent", "initial")
    Settings, Losses = HFGISettings, HFGILosses
    tiny = {"layer": 3}  # noqa: RUF012 - 16x16, a quarter of the output, as layer 7 is of 256 px
    encoder: E4E
    ada: ADA
    consultation: Consultation

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        super().__init__(networks, geometry, options)
        channels = self.generator.config.layer_channels(self.layer)
        wanted = self.consultation.config.feature_channels
        if channels != wanted:
            raise ConfigError(
                f"the consultation encoder is for a feature of {wanted} channels, layer {self.layer} of the generator "
                f"has {channels}"
            )

    @property
    def layer(self) -> int:
        """The layer k whose feature consults the map."""
        return self.options.layer

    def _frozen_pass(self, photo: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return first_pass(self.first_code, self.generator, photo, known, self.layer, self.geometry, self.noise)

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        """frozen["warped"], if it is there, is the map that ADA is given, and has to bring back into place."""
        first = self.frozen_pass(photo) if frozen is None else frozen
        latent, base, initial = first["latent"], first["feature"], first["initial"]
        distortion = photo - initial
        aligned = self.ada(first.get("warped", distortion), initial)
        feature = self._conditions(aligned, base).fused(base)
        return Inversion(
            image=self.render(latent, feature, self.layer),
            latent=latent,
            base_latent=latent,
            feature=feature,
            layer=self.layer,
            extras={"base_feature": base, "initial_image": initial, "discrepancy": distortion, "aligned": aligned},
        )

    def _conditions(self, aligned: Tensor, feature: Tensor) -> Conditions:
        return self.consultation(aligned, feature.shape[2:])

    def training_pass(self, photo: Tensor, frozen: Mapping[str, Tensor], step: Step) -> TrainingPass:
        distortion, weights = photo - frozen["initial"], step.weights
        warp = RandomPerspective(weights["warp"], weights["warp_share"])  # one draw for the whole batch
        inversion = self._invert(photo, {**frozen, "warped": warp(distortion)})
        align = F.l1_loss(inversion.extras["aligned"], distortion)
        return TrainingPass(inversion, [(photo, inversion.image)], {"align": align})

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        sizes, layer = generator.config, settings.layer
        check_layer(layer, sizes)
        config = ConsultationConfig(
            feature_channels=sizes.layer_channels(layer),
            feature_size=sizes.layer_resolution(layer),
            map_size=max(geometry.input_size),
        )
        networks = made_or_held(
            {"ada": (ADA, ADAConfig(align=settings.align)), "consultation": (Consultation, config)}, held
        )
        if held is None and settings.begin == "unfused":
            consultation: Any = networks["consultation"]
            for head in (consultation.scale, consultation.shift):
                nn.init.zeros_(head[-1].weight)
        return networks

    def stages(self, inversion: Inversion) -> list[Tensor]:
        """First reconstruction, distortion map, aligned map (grey is no distortion)."""
        maps = [inversion.extras[name] for name in ("discrepancy", "aligned")]
        spread = maps[0].abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-6)
        return [inversion.extras["initial_image"], *((one / spread).clamp(-1, 1) for one in maps)]

    def _edited_feature(self, inversion: Inversion, shift: Tensor) -> Tensor:
        if self.options.rule in ("carried", "paper"):
            return super()._edited_feature(inversion, shift)
        synthesis, latent = self.generator.synthesis, inversion.base_latent + shift
        if self.options.rule == "kept":
            aligned = held_by(inversion, "aligned", self.method)
            base = synthesis.until(self.layer, latent, noise=self.noise).feature
        else:
            base, initial = first_reconstruction(synthesis, latent, self.layer, self.geometry, self.noise)
            aligned = self.ada(held_by(inversion, "discrepancy", self.method), initial)
        return self._conditions(aligned, base).fused(base)
