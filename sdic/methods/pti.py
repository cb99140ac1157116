"""PTI, pivotal tuning (Roich et al. 2022): find a code near the photo, then tune the generator around it until it draws
the photo. Nothing is trained beforehand; what is kept of a photo is its code and the difference to the generator.

Shapes: B batch, H and W size of the visible output, L latent rows, D style width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.direction import Direction
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.methods.progress import Watch, nothing
from sdic.methods.refining import Refiner
from sdic.methods.registry import register
from sdic.methods.search import (
    PERCEPTUAL,
    Comparison,
    Draw,
    Perceptual,
    Search,
    as_written,
    check_perceptual,
    optimising,
    search_code,
    seeded,
    spread_of_w,
)
from sdic.networks.stylegan2 import Generator, Synthesis
from sdic.settings import at_least, require, setting
from sdic.types import Geometry, Inversion

TUNED = "tuned."
"""What the name of a parameter's difference in `extras` begins with; its name in the synthesis follows."""
RADIUS, TRUNCATION = 30.0, 0.5
"""The locality term looks so far from the pivot, towards codes truncated so (the release; its alpha is the radius)."""


@dataclass
class PTIOptions:
    """Defaults as in the authors' configs/hyperparameters.py."""

    steps: int = setting(350, "of tuning, at most")
    rate: float = setting(3e-4, "learning rate of the tuning")
    stop: float = setting(0.06, "tuning ends at this perceptual distance; 0: never")
    l2: float = setting(1.0, "weight of the squared error")
    lpips: float = setting(1.0, "weight of the perceptual distance")
    perceptual: str = setting("", PERCEPTUAL)
    locality: float = setting(
        0.0, "weight of the locality regularisation, the paper's second part; 0.1 in the release, where it is off"
    )
    pivot_steps: int = setting(450, "of the search in W, where no other method gives the pivot")
    pivot_rate: float = setting(0.01, "its highest learning rate")
    seed: int = setting(0, "of all that is drawn; the same for every photo")

    def __post_init__(self) -> None:
        at_least(self, 0, "steps stop l2 lpips locality pivot_steps")
        require(min(self.rate, self.pivot_rate) > 0, "rate and pivot_rate must be positive")


@register
class PTIInverter(Refiner):
    """photo -> pivot w, by NVIDIA's projector or another method -> G tuned: argmin over the weights of the synthesis of
    l2 |G(w) - photo|^2 + lpips d(G(w), photo) -> picture. An edit is G(w + shift) in the tuned generator.

    It looks at photos at the generator's full size; the projector looks at the domain's input size.
    """

    method = "pti"
    networks = {"generator": "generator"}  # noqa: RUF012
    Options = PTIOptions
    looks_through = ("perceptual",)
    tiny: ClassVar[dict[str, Any]] = {"steps": 3, "pivot_steps": 3, "perceptual": "none"}
    draws_with = "tuned"
    perceptual: Any

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        super().__init__(networks, geometry, options)
        top, bottom, left, right = geometry.crop or (0, geometry.resolution, 0, geometry.resolution)
        self.geometry = replace(geometry, input_size=(bottom - top, right - left))
        check_perceptual(self)

    def _own_code(self, photo: Tensor) -> Tensor:
        return torch.cat([self.pivot(part.clone()) for part in photo.split(1)])

    def pivot(self, photo: Tensor) -> Tensor:
        """The code of one photo by the projector, the same in every row: [1, L, D]. Its noise maps are given up."""
        chosen, (mean, spread) = self.options, spread_of_w(self.generator)
        plain = chosen.perceptual == "none"
        compare = Comparison(photo, self.measured, self.perceptual, float(plain), 1.0)
        how = Search(chosen.pivot_steps, chosen.pivot_rate)
        draw = seeded(chosen.seed, photo.device)
        found = search_code(self.generator.synthesis, mean, spread, compare, how, draw, self.watch)
        return found.code.expand(-1, self.generator.config.latent_rows, -1)

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        return Inversion.cat([self._one(part.clone()) for part in photo.split(1)])

    def _one(self, photo: Tensor) -> Inversion:
        pivot, chosen = self.first_code(photo).to(photo), self.options
        tuned = as_written(self.generator.synthesis)
        compare = Comparison(photo, self.geometry, self.perceptual, chosen.l2, chosen.lpips)
        tune(tuned, self.generator, pivot, compare, chosen, seeded(chosen.seed + 1, photo.device), self.watch)
        return self.of_tuned(pivot, tuned)

    @torch.no_grad()
    def of_tuned(self, latent: Tensor, tuned: Synthesis) -> Inversion:
        """The inversion of a code [1, L, D] in a tuned synthesis, such as one of the authors' result files: the
        difference to this generator in half precision, 2 bytes a weight, and the picture that it gives.

        ConfigError where it was not tuned from this generator: tuning leaves sizes and noise maps as they are.
        """
        if tuned.config != self.generator.config:
            raise ConfigError(f"a tuned generator of other sizes: {tuned.config}, this one is {self.generator.config}")
        maps = dict(self.generator.synthesis.named_buffers())
        if not all(torch.equal(noise, maps[name].to(noise)) for name, noise in tuned.named_buffers()):
            raise ConfigError("a generator that was not tuned from this one: its noise maps are others")
        own = dict(self.generator.synthesis.named_parameters())
        extras = {TUNED + name: (value - own[name])[None].half().float() for name, value in tuned.named_parameters()}
        wrong = [name.removeprefix(TUNED) for name, change in extras.items() if not change.isfinite().all()]
        if wrong:
            raise SdicError(f"the tuning went out of range ({wrong[0]}); take a lower rate or fewer steps")
        image = self.synthesis_of(extras)(latent, noise=self.noise)
        return Inversion(image, latent, latent, extras=extras)

    @torch.no_grad()
    def synthesis_of(self, extras: Mapping[str, Tensor]) -> Synthesis:
        """The tuned synthesis of an inversion of one image: a copy, frozen. CheckpointError for weights that do not
        fit."""
        tuned = copy.deepcopy(self.generator.synthesis)
        for name, value in tuned.named_parameters():
            change = extras.get(TUNED + name)
            if change is None or change.shape != (1, *value.shape):
                found = "nothing" if change is None else list(change.shape)
                raise CheckpointError(f"damaged inversion: {TUNED}{name} should be {[1, *value.shape]}, found {found}")
            value.add_(change[0].to(value))
        return tuned

    def _edit(self, inversion: Inversion, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> Tensor:
        latent = inversion.latent + self.shift(inversion.latent, directions, strengths)
        if not any(name.startswith(TUNED) for name in inversion.extras):  # a code by itself
            return self.generator.synthesis(latent, noise=self.noise)
        images = [
            self.synthesis_of(inversion[index].extras)(code, noise=self.noise)
            for index, code in enumerate(latent.split(1))
        ]
        return torch.cat(images)


def tune(
    tuned: Synthesis,
    generator: Generator,
    pivot: Tensor,
    compare: Comparison,
    how: PTIOptions,
    draw: Draw,
    watch: Watch = nothing,
) -> list[tuple[float, float]]:
    """Adam on every parameter of `tuned`, in place, for G(pivot) to be the photo; the noise maps stay.

    Returns (loss without the locality term, perceptual distance) of each step, before it. The step that would begin at
    the distance `stop` is not made.
    """
    history = []
    with optimising(pivot.device):
        tuned.requires_grad_(True)
        adam = torch.optim.Adam(tuned.parameters(), lr=how.rate)
        for step in range(how.steps):
            loss, distance = compare(tuned(pivot))
            history.append((float(loss.detach()), float(distance)))
            if how.stop > 0 and history[-1][1] <= how.stop:
                break
            if how.locality > 0:
                code = code_nearby(generator, pivot, draw((1, generator.config.style_dim)))
                loss = loss + how.locality * locality(tuned, generator.synthesis, code, compare.perceptual)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            watch("tuning", step + 1, how.steps)
        tuned.requires_grad_(False)
    return history


@torch.no_grad()
def code_nearby(generator: Generator, pivot: Tensor, z: Tensor) -> Tensor:
    """w_r = w_p + radius (w_z - w_p) / |w_z - w_p|, the norm over all rows together: [1, L, D]; z [1, D]."""
    away = generator.latent(z, TRUNCATION) - pivot
    return pivot + RADIUS * away / away.norm()


def locality(tuned: Synthesis, original: Synthesis, code: Tensor, perceptual: Perceptual | None) -> Tensor:
    """How far the tuned synthesis has moved elsewhere: |G'(w_r) - G(w_r)|^2 + d(G'(w_r), G(w_r)), without noise: []."""
    with torch.no_grad():
        before = original(code, noise="none")
    after = tuned(code, noise="none")
    loss = F.mse_loss(after, before)
    return loss if perceptual is None else loss + perceptual(before, after).mean()
