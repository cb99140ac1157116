"""Optimisation of the code, and of the noise maps, for every photo: Image2StyleGAN++ (Abdal et al. 2020), with the
schedule and the noise regularisation of NVIDIA's projector. Nothing is trained.

Shapes: B batch, H and W input size, L latent rows, D style width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from sdic.direction import Direction
from sdic.errors import CheckpointError
from sdic.methods.refining import Refiner
from sdic.methods.registry import register
from sdic.methods.search import (
    PERCEPTUAL,
    Comparison,
    Found,
    Search,
    check_perceptual,
    search_code,
    seeded,
    spread_of_w,
)
from sdic.settings import at_least, require, setting
from sdic.types import Geometry, Inversion

MAP = "noise."
"""What the name of a noise map in `extras` begins with; its layer follows."""


@dataclass
class WPlusOptions:
    """How a code is searched."""

    space: Literal["w+", "w"] = setting("w+", "rows of their own (w+), or one code in all rows (w)")
    steps: int = setting(500, "of Adam, for every photo")
    rate: float = setting(0.1, "the highest learning rate")
    l2: float = setting(1.0, "weight of the squared error")
    lpips: float = setting(1.0, "weight of the perceptual distance")
    perceptual: str = setting("", PERCEPTUAL)
    maps: bool = setting(True, "search the noise maps too; edits keep them")
    jitter: float = setting(0.0, "noise on the code at the beginning, in units of the spread of W (NVIDIA: 0.05)")
    stop: float = setting(0.0, "end at this perceptual distance; 0: never")
    patience: int = setting(100, "end after so many steps without a lower loss; 0: never")
    seed: int = setting(0, "of all that is drawn; the same for every photo")

    def __post_init__(self) -> None:
        at_least(self, 0, "steps l2 lpips jitter stop patience")
        require(self.rate > 0, f"rate must be positive, got {self.rate}")


@register
class WPlusInverter(Refiner):
    """argmin over w (and noise n) of l2 |G(w, n) - photo|^2 + lpips d(G(w, n), photo) + the noise penalty.

    The search begins at the mean of W, or at another method's code. Pictures are compared at the input size.
    """

    method = "wplus"
    networks = {"generator": "generator"}  # noqa: RUF012
    Options = WPlusOptions
    looks_through = ("perceptual",)
    tiny: ClassVar[dict[str, Any]] = {"steps": 4, "perceptual": "none"}
    gives_code = True
    draws_with = "noise"
    perceptual: Any

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        super().__init__(networks, geometry, options)
        check_perceptual(self)

    def search(self, photo: Tensor) -> Found:
        """What is found for one photo [1, 3, H, W]."""
        chosen, (mean, spread) = self.options, spread_of_w(self.generator)
        start = mean if self.starter is None else self.first_code(photo)
        start = start.mean(1, keepdim=True) if chosen.space == "w" else start.expand(-1, self.rows, -1)
        how = Search(
            *(chosen.steps, chosen.rate, chosen.l2, chosen.lpips, chosen.maps, chosen.jitter),
            stop=chosen.stop,
            patience=chosen.patience,
        )
        compare = Comparison(photo, self.geometry, self.perceptual, how.l2, how.lpips)
        draw = seeded(chosen.seed, photo.device)
        return search_code(self.generator.synthesis, start, spread, compare, how, draw, self.watch)

    @property
    def rows(self) -> int:
        """L."""
        return self.generator.config.latent_rows

    def code_of(self, photo: Tensor) -> Tensor:
        """The code alone, without the noise maps that were found with it."""
        return torch.cat([self.search(part).code.expand(-1, self.rows, -1) for part in photo.split(1)])

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        return Inversion.cat([self._one(part.clone()) for part in photo.split(1)])

    def _one(self, photo: Tensor) -> Inversion:
        found = self.search(photo)
        code = found.code.expand(-1, self.rows, -1)
        extras = {f"{MAP}{layer}": noise.half().float() for layer, noise in found.maps.items()}  # what a file keeps
        return Inversion(self._drawn(code, extras), code, code, extras=extras)

    def _drawn(self, latent: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        """G(latent) with the noise maps of an inversion."""
        known = {f"{MAP}{layer}": layer for layer in range(self.rows - 1)}
        unknown = [name for name in extras if name not in known]
        if unknown:
            raise CheckpointError(f"damaged inversion: {unknown[0]} is no noise map of this generator")
        maps = {known[name]: noise for name, noise in extras.items()}
        return self.generator.synthesis(latent, noise=maps or self.noise)

    def _edit(self, inversion: Inversion, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> Tensor:
        latent = inversion.latent + self.shift(inversion.latent, directions, strengths)
        return self._drawn(latent, inversion.extras)
