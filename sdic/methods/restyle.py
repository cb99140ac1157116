"""ReStyle (Alaluf et al. 2021): an encoder that sees a photo beside its own last reconstruction, and corrects the code.

Over pSp every row is corrected by itself; over e4e by one correction for all rows and an offset for each further row.

Shapes: B batch, H and W input size, L latent rows, D style width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdic.methods.encoders import EncoderSettings, encoder_for, picture_of
from sdic.methods.iterative import IterativeInverter
from sdic.methods.passes import Step
from sdic.methods.registry import register
from sdic.networks.e4e import E4E
from sdic.networks.stylegan2 import Generator
from sdic.settings import at_least, require, setting
from sdic.types import Geometry, Inversion

PASSES = "passes: how often the encoder looks at photo and reconstruction (the paper's N)"


@dataclass
class ReStyleSettings(EncoderSettings):
    """What a training says about the encoder. The defaults are the authors' for faces, over pSp."""

    passes: int = setting(5, PASSES)
    relative: bool = setting(False, "rows are corrected by offsets from row 0 (over e4e), or by themselves (over pSp)")
    pyramid: bool = setting(False, "pSp's feature pyramid in place of the paper's simpler encoder (its ablation)")
    body: Literal["irse", "resnet"] = setting("irse", "irse (faces), or the resnet of the authors' other domains")
    progressive_from: int = setting(0, "images before row 1 gets an offset of its own (relative)")
    progressive_every: int = setting(0, "images before each further row does; 0: all rows have theirs from the start")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "passes", "model.")
        at_least(self, 0, "progressive_from progressive_every", "model.")
        require(self.relative or not self.progressive_every, "model.progressive_every needs model.relative=true")


@dataclass
class ReStyleOptions:
    """How ReStyle inverts."""

    passes: int = setting(5, PASSES)

    def __post_init__(self) -> None:
        at_least(self, 1, "passes")


@register
class ReStyleInverter(IterativeInverter):
    """w_0 = mean code, y_0 = its picture; w_t = w_(t-1) + E(photo, y_(t-1)), y_t = G(w_t) at the input size."""

    method = "restyle"
    networks = {"generator": "generator", "encoder": "encoder"}  # noqa: RUF012
    Options, Settings = ReStyleOptions, ReStyleSettings
    trains = ("encoder",)
    tiny = {"blocks": [1, 1, 2, 1], "widths": [16, 24, 32, 48], "passes": 3, "relative": True}  # noqa: RUF012
    encoder: E4E
    _average: Tensor | None = None

    @classmethod
    def fits(cls, networks: Mapping[str, nn.Module]) -> bool:
        encoder: Any = networks.get("encoder")
        return super().fits(networks) and encoder.config.channels == 6

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        switches = {name: getattr(settings, name) for name in ("relative", "pyramid", "body")}
        encoder = encoder_for(settings, generator, geometry, held, channels=6, **switches)
        if held is None:
            with torch.no_grad():  # as the authors begin what looks at the reconstruction
                nn.init.normal_(encoder.body.stem.conv.weight[:, 3:])  # type: ignore[union-attr, index]
        return {"encoder": encoder}

    def passes(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Iterator[Inversion]:
        start = self.encoder.latent_avg.expand(len(photo), -1, -1)
        latent, shown = start, self.average_picture().expand(len(photo), -1, -1, -1)
        for _ in range(self.options.passes):
            latent = latent.detach() + self._step(photo, shown.detach())
            image = picture_of(self, latent)
            yield Inversion(image=image, latent=latent, base_latent=start)
            shown = self.geometry.at_input_size(image)

    def code_in_training(self, photo: Tensor, step: Step) -> Tensor:
        self.progress(step.images, step.settings)
        shown = self.average_picture().expand(len(photo), -1, -1, -1)
        return self.encoder.latent_avg + self._step(photo, shown)

    def progress(self, images: int, settings: Any) -> None:
        if settings.progressive_every:
            later = images - settings.progressive_from
            rows = 1 if later < 0 else 2 + later // settings.progressive_every
            self.opened = min(rows, self.encoder.config.latent_rows)

    def _step(self, photo: Tensor, shown: Tensor) -> Tensor:
        """What the encoder adds to the code [B, L, D], from photo and last reconstruction [B, 3, H, W]."""
        return self.encoder.offsets(torch.cat([photo, shown.to(photo)], 1), self.opened)

    @torch.no_grad()
    def average_picture(self) -> Tensor:
        """The picture of the mean code with the stored noise, as the encoder looks at it first: [1, 3, H, W]. It is
        made once."""
        mean = self.encoder.latent_avg
        if self._average is None or (self._average.dtype, self._average.device) != (mean.dtype, mean.device):
            self._average = self.geometry.at_input_size(self.generator.synthesis(mean[None])).to(mean)
        return self._average

    def stages(self, inversion: Inversion) -> list[Tensor]:
        """The picture of the mean code, where the way begins."""
        return [self.average_picture().expand(len(inversion), -1, -1, -1)]
