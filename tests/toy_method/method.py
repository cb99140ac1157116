"""The toy: w' = w + share * correction(w); its edits go `reach` times as far as asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sdic.direction import Direction
from sdic.methods import Inverter, register
from sdic.networks.e4e import E4E
from sdic.networks.stylegan2 import Generator
from sdic.settings import setting
from sdic.types import Geometry, Inversion
from tests.toy_method.network import Correction, CorrectionConfig


@dataclass
class ToySettings:
    """What its training says."""

    share: float = setting(0.1, "how much of the correction counts")


@dataclass
class ToyOptions(ToySettings):
    """The same, and what edits depend on."""

    reach: float = setting(1.0, "how far an edit goes, beside what is asked for")


@register
class ToyInverter(Inverter):
    """A method without a feature."""

    method = "toy"
    networks = {"generator": "generator", "encoder": "encoder", "corrector": "correction"}  # noqa: RUF012
    Options, Settings = ToyOptions, ToySettings
    edit_options = ("reach",)
    edit_variants = {"further": {"reach": 2.0}}  # noqa: RUF012
    trains = ("corrector",)
    stored = ("latent",)
    encoder: E4E
    corrector: Correction

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        return {"corrector": Correction(CorrectionConfig(generator.config.style_dim))} if held is None else dict(held)

    def _frozen_pass(self, photo: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"latent": known["latent"] if "latent" in known else self.encoder(photo)}

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        latent = (self.frozen_pass(photo) if frozen is None else frozen)["latent"]
        moved = latent + self.options.share * self.corrector(latent)
        image = self.generator.synthesis(moved, noise=self.noise)
        return Inversion(image, moved, latent, extras={"correction": moved - latent})

    def _edit(self, inversion: Inversion, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> Tensor:
        return super()._edit(inversion, directions, [self.options.reach * amount for amount in strengths])
