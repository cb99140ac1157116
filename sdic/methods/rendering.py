"""Small parts of rendering and editing that `Inverter` uses. B batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sdic.changes import Noise
from sdic.direction import Direction
from sdic.errors import SdicError
from sdic.networks.stylegan2 import Synthesis
from sdic.types import GeneratorState, Inversion


def fitted(photo: Tensor, size: tuple[int, int]) -> Tensor:
    """Photos [B, 3, H', W'] in [-1, 1] at another size (H, W): antialiased, as PIL reduces a picture."""
    if tuple(photo.shape[2:]) == size:
        return photo
    return F.interpolate(photo, size=size, mode="bilinear", antialias=True).clamp(-1, 1)


def recomputed(synthesis: Synthesis, stop: int, latent: Tensor, state: GeneratorState, noise: Noise) -> GeneratorState:
    """The state after layer `stop`, computed once more in the backward pass instead of kept for it."""

    def run(latent: Tensor, feature: Tensor, rgb: Tensor | None) -> tuple[Tensor, Tensor | None]:
        after = synthesis.until(stop, latent, GeneratorState(state.layer, feature, rgb), noise)
        return after.feature, after.rgb

    feature, rgb = checkpoint(run, latent, state.feature, state.rgb, use_reentrant=False)
    return GeneratorState(stop, feature, rgb)


def paired(
    direction: Direction | Sequence[Direction], strength: float | Tensor | Sequence[float | Tensor]
) -> tuple[list[Direction], list[Tensor]]:
    """Directions and strengths as lists of one length; a strength is a tensor [] or [B]."""
    if isinstance(direction, Direction):
        return [direction], [torch.as_tensor(strength, dtype=torch.float32).cpu()]
    amounts = list(strength) if isinstance(strength, Sequence | Tensor) else [strength]
    if len(amounts) != len(direction):
        raise ValueError(f"{len(direction)} directions need as many strengths, got {len(amounts)}")
    return list(direction), [torch.as_tensor(amount, dtype=torch.float32).cpu() for amount in amounts]


def check_whose(inversion: Inversion, name: str, generator: str, draws_with: str) -> None:
    """SdicError where a model cannot edit an inversion: it was made with another generator, or holds what only the
    method that made it can draw with (extras with a dot in their names)."""
    if inversion.generator and inversion.generator != generator:
        raise SdicError(
            f"this inversion was made with generator {inversion.generator[:12]}, and {name} has {generator[:12]}; "
            "invert the photo again with this model"
        )
    parts = {extra.partition(".")[0] for extra in inversion.extras if "." in extra}
    foreign = sorted(parts - {draws_with})
    if foreign:
        raise SdicError(
            f"this inversion, made by {inversion.method or 'another model'}, holds {foreign[0]!r}: without it it is "
            f"another picture, and {name} does not draw with that; edit it with the model and --refine that made it"
        )
