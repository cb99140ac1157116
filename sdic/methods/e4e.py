"""The encoders alone, e4e (Tov et al. 2021) and pSp (Richardson et al. 2021): the code of the encoder, rendered.

e4e is the baseline of every table, and what methods with a feature start from.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from sdic.methods.base import Inverter
from sdic.methods.encoders import EncoderSettings, encoder_for, picture_of
from sdic.methods.registry import register
from sdic.networks.e4e import E4E
from sdic.networks.stylegan2 import Generator
from sdic.types import Geometry, Inversion


@register
class E4EInverter(Inverter):
    """w = e4e(photo); the picture is G(w); an edit is G(w + shift)."""

    method = "e4e"
    networks = {"generator": "generator", "encoder": "encoder"}  # noqa: RUF012
    relative: ClassVar[bool] = True
    """Whether the encoder's rows are offsets from row 0."""
    gives_code = True
    encoder: E4E

    @classmethod
    def fits(cls, networks: Mapping[str, nn.Module]) -> bool:
        encoder: Any = networks.get("encoder")
        return super().fits(networks) and (encoder.config.relative, encoder.config.channels) == (cls.relative, 3)

    def code_of(self, photo: Tensor) -> Tensor:
        return self.encoder(photo)

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        latent = self.code_of(photo)
        return Inversion(image=picture_of(self, latent), latent=latent, base_latent=latent)


@register
class PSPInverter(E4EInverter):
    """The same with pSp's encoder, every row of which is a code of its own."""

    method = "psp"
    relative = False
    trains = ("encoder",)
    Settings = EncoderSettings
    tiny = {"blocks": [1, 1, 2, 1], "widths": [16, 24, 32, 48]}  # noqa: RUF012

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        return {"encoder": encoder_for(settings, generator, geometry, held, relative=False)}
