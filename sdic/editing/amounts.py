"""What amount of a direction a photo takes: a strength at which the attribute moves by what is asked, as measured.

The response of a direction differs from photo to photo. A few strengths are tried, and between them it is taken as
linear.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

SHARES = (0.5, 1.0, 1.5)
"""Strengths that are tried, as shares of what is asked; 0 is the inversion itself."""
SWEEP = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
"""Those for a sweep, as shares of the largest that is asked."""


@dataclass(frozen=True)
class Response:
    """strengths: what is asked -> (the strength to take, whether it is out of reach). moved: strength -> by how much
    the attribute was measured to move, 0 at 0."""

    strengths: dict[float, tuple[float, bool]]
    moved: dict[float, float]


def respond(asked: Sequence[float], move: Callable[[list[float]], list[float]], sweep: bool = False) -> Response:
    """The strengths for several changes of one attribute, of either sign, of one photo.

    move: tries strengths, all at once, and says by how much each moves the attribute from the inversion.
    sweep: more than two changes towards one side share `SWEEP` of the largest, instead of three strengths for each.
    """
    knots: dict[float, list[float]] = {}
    for sign in (-1.0, 1.0):
        side = [abs(amount) for amount in asked if amount * sign > 0]
        shared = [max(side) * share for share in SWEEP] if sweep and len(set(side)) > 2 else []
        for size in side:
            knots[sign * size] = [0.0, *(shared or [size * share for share in SHARES])]
    tried = sorted({(1 if a > 0 else -1) * k for a, at in knots.items() for k in at if k}, key=abs)
    moved = dict(zip([0.0, *tried], [0.0, *(move(tried) if tried else [])], strict=True))
    strengths = {}
    for amount in asked:
        sign, at = (-1.0 if amount < 0 else 1.0), knots.get(amount, [0.0])
        strength, missed = strength_for(abs(amount), at, [sign * moved[sign * knot] for knot in at])
        strengths[amount] = (sign * strength + 0.0, missed and amount != 0)
    return Response(strengths, moved)


def strength_for(asked: float, strengths: Sequence[float], moved: Sequence[float]) -> tuple[float, bool]:
    """(strength at which the attribute moves by `asked`, whether that is out of reach).

    strengths ascend from 0; moved [same] is what they were measured to do, 0 at strength 0. Between them the response
    is taken as linear. The first strength that gets there counts; where none does, the one that gets closest.
    """
    for (low, before), (high, after) in pairwise(zip(strengths, moved, strict=True)):
        if before < asked <= after:
            return low + (high - low) * (asked - before) / (after - before), False
    closest = max(range(len(moved)), key=lambda place: moved[place])
    return strengths[closest], True
