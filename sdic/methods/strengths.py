"""What an edit is asked for, checked: whose inversion, which directions, how many strengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdic.direction import Direction
from sdic.errors import ConfigError, SdicError
from sdic.types import Inversion

if TYPE_CHECKING:
    from sdic.methods.base import Inverter


def own(inverter: Inverter, inversion: Inversion) -> Inversion:
    """The inversion on the inverter's device.

    SdicError for one that it cannot edit: of another generator, or one that holds what only the method that made it can
    draw with (extras with a dot in their names).
    """
    generator = inverter.fingerprint
    if inversion.generator and inversion.generator != generator:
        raise SdicError(
            f"this inversion was made with generator {inversion.generator[:12]}, and {inverter.name} has "
            f"{generator[:12]}; invert the photo again with this model"
        )
    parts = {extra.partition(".")[0] for extra in inversion.extras if "." in extra}
    foreign = sorted(parts - {inverter.draws_with})
    if foreign:
        raise SdicError(
            f"this inversion, made by {inversion.method or 'another model'}, holds {foreign[0]!r}: without it it is "
            f"another picture, and {inverter.name} does not draw with that; edit it with the model and --refine that "
            "made it"
        )
    return inversion.to(inverter.device)


def paired(
    direction: Direction | Sequence[Direction], strength: float | Tensor | Sequence[float | Tensor]
) -> tuple[list[Direction], list[Tensor]]:
    """Directions and strengths as lists of one length; a strength is a tensor [] or [B]. ConfigError for strengths that
    are not finite."""
    if isinstance(direction, Direction):
        directions, amounts = [direction], [strength]
    else:
        directions = list(direction)
        amounts = list(strength) if isinstance(strength, Sequence | Tensor) else [strength]
        if len(amounts) != len(directions):
            raise ValueError(f"{len(directions)} directions need as many strengths, got {len(amounts)}")
    tensors = [torch.as_tensor(amount, dtype=torch.float32).cpu() for amount in amounts]
    for item, amount in zip(directions, tensors, strict=True):
        if not torch.isfinite(amount).all():
            raise ConfigError(f"a strength of direction {item.name!r} is not a finite number: {amount.tolist()}")
    return directions, tensors


def counted(inversion: Inversion, strengths: Sequence[Tensor]) -> int:
    """How many pictures strengths [] or [B] make of an inversion; ValueError where they do not go together."""
    count = max([len(inversion), *(s.numel() for s in strengths if s.ndim > 0)])
    for amount in strengths:
        if amount.ndim > 1 or (amount.ndim == 1 and len(amount) not in (1, count)) or len(inversion) not in (1, count):
            raise ValueError(f"{len(inversion)} inversions do not go with strengths of shape {list(amount.shape)}")
    return count
