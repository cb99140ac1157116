"""e4e alone (Tov et al. 2021): the code of the encoder, rendered. The baseline of every table, and SDIC's start."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sdic.methods.base import Inverter
from sdic.networks.e4e import E4E
from sdic.networks.stylegan2 import Generator
from sdic.types import Geometry, Inversion


class E4EInverter(Inverter):
    """w = e4e(photo); the picture is G(w); an edit is G(w + shift)."""

    method = "e4e"
    networks = {"generator": "generator", "encoder": "encoder"}  # noqa: RUF012

    def __init__(self, generator: Generator, encoder: E4E, geometry: Geometry):
        super().__init__(generator, geometry)
        self.encoder = encoder

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        latent = self.encoder(photo)
        image = self.generator.synthesis(latent, noise=self.noise)
        return Inversion(image=image, latent=latent, base_latent=latent)
