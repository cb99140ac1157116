"""StyleFeatureEditor (Bobkov et al. 2024): a code and a large feature of the generator, and a network that edits the
feature as the generator changes its own.

Shapes: B batch, H and W input size, L latent rows, D style width, C/h/w the feature, R output size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.direction import Direction
from sdic.editing.directions import load_direction
from sdic.errors import ConfigError
from sdic.methods.features import held_by, made_or_held
from sdic.methods.next_feature import NextFeatureInverter, encoder_sizes, ramp_of
from sdic.methods.passes import Step, TrainingPass
from sdic.methods.registry import register
from sdic.networks.e4e import E4E
from sdic.networks.feature_style import FeatureFuser, FeatureFuserConfig, FeatureStyleEncoder
from sdic.networks.stylegan2 import Generator, shrink
from sdic.settings import at_least, require, setting
from sdic.types import GeneratorState, Geometry, Inversion


@dataclass
class SFEInverterSettings:
    """What a training says about the inverter (phase 1)."""

    layer: int = setting(8, "the feature enters behind this layer of the generator, an even one")
    blocks: list[int] = setting([3, 4, 14, 3], "blocks of the encoder's four stages")
    widths: list[int] = setting([64, 128, 256, 512], "channels of its four stages")
    strides: list[int] = setting([2, 2, 1, 2], "strides of its four stages")
    fuser_blocks: int = setting(5, "residual blocks of the fuser")
    ramp: int = setting(80_000, "images over which the feature replaces the generator's own, step by step; 0: at once")

    def __post_init__(self) -> None:
        at_least(self, 0, "ramp fuser_blocks", "model.")


@dataclass
class SFEInverterLosses:
    """Terms of the inverter alone."""

    feature: float = setting(0.01, "weight of the squared distance of the feature from the generator's own")


@dataclass
class SFEInverterOptions:
    """How the inverter inverts and edits."""

    layer: int = setting(8, "the feature enters behind this layer of the generator")
    rule: Literal["carried", "paper", "kept"] = setting(
        "carried",
        "how the feature follows an edit: what was compensated is carried along with the motion that the edit makes in "
        "the generator; or it stays at its place, by G_k(w + edit) - G_k(w) (paper); or the whole feature stays as it "
        "is (kept, as the authors' phase 1 does)",
    )


@register
class SFEInverter(NextFeatureInverter):
    """photo -> w, F_pred; F_w = G_k(w); F = fuser(F_pred, F_w) -> picture. Phase 1 of the authors' training."""

    method = "sfe-inverter"
    networks = {  # noqa: RUF012
        "generator": "generator",
        "sfe_encoder": "feature_style_encoder",
        "fuser": "feature_fuser",
    }
    Options: ClassVar[type] = SFEInverterOptions
    edit_options = ("rule",)
    edit_variants = {rule: {"rule": rule} for rule in ("carried", "paper", "kept")}  # noqa: RUF012
    trains: ClassVar[tuple[str, ...]] = ("sfe_encoder", "fuser")
    Settings: ClassVar[type] = SFEInverterSettings
    Losses: ClassVar[type] = SFEInverterLosses
    tiny = {  # noqa: RUF012
        "layer": 4,
        "blocks": [1, 1, 1, 1],
        "widths": [8, 8, 16, 16],
        "strides": [2, 2, 1, 2],
        "fuser_blocks": 1,
        "ramp": 0,
    }
    sfe_encoder: FeatureStyleEncoder
    fuser: FeatureFuser

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        super().__init__(networks, geometry, options)
        self.check_layer(self.options.layer, self.fuser.config.channels)

    def first(self, photo: Tensor) -> dict[str, Tensor]:
        """latent w [B, L, D]; base_feature F_w = G_k(w), fused_feature F [B, C, h, w]; rgb [B, 3, h, w] up to k."""
        code, predicted = self.sfe_encoder(photo)
        latent = code + self.generator.latent_avg
        state = self.own_state(latent, self.options.layer)
        assert state.rgb is not None
        fused = self.fuser(predicted, state.feature)
        return {"latent": latent, "base_feature": state.feature, "fused_feature": fused, "rgb": state.rgb}

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        return self._with_feature(self.first(photo), 1.0)

    def _with_feature(self, first: Mapping[str, Tensor], share: float) -> Inversion:
        state = GeneratorState(self.options.layer, first["base_feature"], first["rgb"])
        return self.with_feature(first["latent"], state, first["fused_feature"], share)

    def training_pass(self, photo: Tensor, frozen: Mapping[str, Tensor], step: Step) -> TrainingPass:
        """The picture with F and that of w alone both have to be the photo; F stays near F_w."""
        first = self.first(photo)
        inversion = self._with_feature(first, ramp_of(step.images, step.settings.ramp))
        own = GeneratorState(self.options.layer, first["base_feature"], first["rgb"])
        pairs = [(photo, inversion.image), (photo, self.resume(first["latent"], own))]
        terms = {"feature": F.mse_loss(first["fused_feature"], first["base_feature"])}
        return TrainingPass(inversion, pairs, terms, fooling=2)

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        config = encoder_sizes(settings, generator.config, geometry, (1, 1))
        fuser = FeatureFuserConfig(config.feature_channels, settings.fuser_blocks)
        return made_or_held({"sfe_encoder": (FeatureStyleEncoder, config), "fuser": (FeatureFuser, fuser)}, held)

    def _edited_feature(self, inversion: Inversion, shift: Tensor) -> Tensor:
        if self.options.rule == "kept":
            assert inversion.feature is not None
            return inversion.feature
        return super()._edited_feature(inversion, shift)


@dataclass
class SFESettings:
    """What a training says about the Feature Editor (phase 2)."""

    layer: int = setting(8, "the feature enters behind this layer of the generator, as in phase 1")
    editor_blocks: int = setting(5, "residual blocks of the Feature Editor")
    edits: list[str] = setting(
        [f"pc{n}=-3,-2,-1,1,2,3" for n in range(8)],
        "the edits that it learns: DIRECTION=STRENGTHS; a step draws one of each",
    )

    def __post_init__(self) -> None:
        at_least(self, 0, "editor_blocks", "model.")
        require(bool(self.edits), "model.edits is empty: say which edits to learn, such as pc0=-3,3")
        for word in self.edits:
            strengths_of(word)


@dataclass
class SFEOptions:
    """How StyleFeatureEditor inverts and edits."""

    layer: int = setting(8, "the feature enters behind this layer of the generator")
    rule: Literal["editor", "carried", "paper"] = setting(
        "editor",
        "how the feature follows an edit: by the Feature Editor, as the authors do; or what was compensated is carried "
        "along with the motion that the edit makes in the generator; or it stays at its place (paper: eq. 6 of SDIC)",
    )


@register
class StyleFeatureEditor(SFEInverter):
    """The inverter's F through the Feature Editor H: the picture of an inversion is that of H(F, 0), of an edit that of
    H(F, delta), where delta = G_k(w_e) - G_k(w_e + shift) and w_e is e4e's code."""

    method = "sfe"
    networks = {  # noqa: RUF012
        **SFEInverter.networks,
        "encoder": "encoder",
        "feature_editor": "feature_fuser",
    }
    Options = SFEOptions
    edit_variants = {rule: {"rule": rule} for rule in ("editor", "carried", "paper")}  # noqa: RUF012
    trains = ("feature_editor",)
    trained_after = ("sfe-inverter",)
    Settings = SFESettings
    Losses = NextFeatureInverter.Losses
    tiny = {"layer": 4, "editor_blocks": 1, "edits": ["pc0=-2,2"]}  # noqa: RUF012
    encoder: E4E
    feature_editor: FeatureFuser

    def _frozen_pass(self, photo: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of `first`, and second_latent: e4e's code w_e [B, L, D]."""
        return {**self.first(photo), "second_latent": self.encoder(photo)}

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        first = self.frozen_pass(photo) if frozen is None else frozen
        latent, base, fused = first["latent"], first["base_feature"], first["fused_feature"]
        feature = self.feature_editor(fused, torch.zeros_like(fused))
        return Inversion(
            image=self.resume(latent, GeneratorState(self.options.layer, feature, first["rgb"])),
            latent=latent,
            base_latent=latent,
            feature=feature,
            layer=self.options.layer,
            extras={"base_feature": base, "fused_feature": fused, "second_latent": first["second_latent"]},
        )

    def delta(self, code: Tensor, moved: Tensor) -> Tensor:
        """G_k(w_e) - G_k(moved) of codes [B, L, D]: [B, C, h, w]. The Feature Editor looks at it from the edited side:
        original minus edited."""
        synthesis, layer = self.generator.synthesis, self.options.layer
        before: Any = getattr(synthesis, "original", synthesis)  # an edit in style space shifts what is after it alone
        return (
            before.until(layer, code, noise=self.noise).feature
            - synthesis.until(layer, moved, noise=self.noise).feature
        )

    def _edit(self, inversion: Inversion, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> Tensor:
        if self.options.rule != "editor":
            return super()._edit(inversion, directions, strengths)
        latent = inversion.latent + self.shift(inversion.latent, directions, strengths)
        second = held_by(inversion, "second_latent", self.method)
        delta = self.delta(second, second + self.shift(second, directions, strengths))
        feature = self.feature_editor(held_by(inversion, "fused_feature", self.method), delta)
        return self.render(latent, feature, self.options.layer)

    def training_pass(self, photo: Tensor, frozen: Mapping[str, Tensor], step: Step) -> TrainingPass:
        """The inversion has to be the photo; and of a picture G(w_e) that e4e's code draws, whose edit G(w_e + shift)
        is known, the edit has to be that one. Both weigh the same."""
        inversion = self._invert(photo, frozen)
        second = frozen["second_latent"]
        direction, strength = self._drawn_edit(step.settings.edits, second)
        with torch.no_grad():
            moved = second + direction.shift(second, strength)
            drawn, target = (self.generator.synthesis(code, noise=self.noise) for code in (second, moved))
            visible = shrink(self.geometry.visible(drawn), self.geometry.input_size)
            first = self.frozen_pass(visible.to(photo))
            latent = first["latent"] + direction.shift(first["latent"], strength)
            delta = self.delta(second, moved)
        edited = self.render(latent, self.feature_editor(first["fused_feature"], delta), self.options.layer)
        return TrainingPass(
            inversion, [(photo, inversion.image), (self.geometry.at_input_size(target).to(photo), edited)]
        )

    def _drawn_edit(self, words: Sequence[str], codes: Tensor) -> tuple[Direction, Tensor]:
        """One of the edits, and one of its strengths for all codes [B, L, D]: [B]."""
        name, strengths = strengths_of(words[int(torch.randint(len(words), ()))])
        strength = strengths[int(torch.randint(len(strengths), ()))]
        if codes.is_meta:  # an estimate of memory
            return Direction(torch.zeros(codes.shape[-1])), codes.new_full((len(codes),), strength)
        if name not in self._known_edits:
            self._known_edits[name] = load_direction(name, self.domain, self.generator)
        return self._known_edits[name], codes.new_full((len(codes),), strength)

    @property
    def _known_edits(self) -> dict[str, Direction]:
        return self.__dict__.setdefault("_edits_that_were_read", {})

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        config = FeatureFuserConfig(generator.config.layer_channels(settings.layer), settings.editor_blocks)
        return made_or_held({"feature_editor": (FeatureFuser, config)}, held)


def strengths_of(word: str) -> tuple[str, list[float]]:
    """(direction, strengths) of "DIRECTION=1,2"; ConfigError for anything else."""
    name, equals, text = word.partition("=")
    try:
        strengths = [float(part) for part in text.split(",")]
    except ValueError:
        strengths = []
    if not (name and equals and strengths and all(map(torch.isfinite, torch.tensor(strengths)))):
        raise ConfigError(f"model.edits: {word!r} is not DIRECTION=STRENGTHS, such as age=-5,5")
    return name, strengths
