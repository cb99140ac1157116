"""Between two inverted photos: interpolation, and style mixing of rows (In-Domain GAN Inversion, supplement, sections
3 and 5). The result is an inversion again: it can be looked at, edited and saved.

Codes are mixed in W+. Where a feature is compensated, F' = G_k(w) + C, its two parts go different ways: the generator's
own part is drawn anew from the mixed code, and C follows as it follows an edit, by the rule of the method's edits
(eq. 6 leaves it at its place, "carried" moves it along). Whatever else a method keeps (weights, maps) is blended as it
is.

Shapes: B batch, L latent rows, D style width, C/h the compensated feature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sdic.editing.transport import SIGNATURE
from sdic.errors import ConfigError
from sdic.methods.strengths import own
from sdic.types import Inversion
from sdic.utils.tensors import without_gradients

if TYPE_CHECKING:
    from sdic.methods.base import Inverter

BASE = "base_feature"
WORDS = {"coarse": (0, 4), "middle": (4, 8), "fine": (8, 18)}
"""StyleGAN's names for rows: those of 4 and 8 px, of 16 and 32 px, and of all sizes above."""


@without_gradients
def interpolate(inverter: Inverter, first: Inversion, second: Inversion, t: float) -> Inversion:
    """The inversion at t from 0 (`first`, bit for bit) to 1 (`second`) of one to one photos [B], or of one to many.

    w'_t = (1 - t) w'_A + t w'_B, and so w_t. F'_t = (1 - t) E_A + t E_B, where E_A is what the edit from w_A to w_t
    makes of F'_A; by eq. 6, F'_t = G_k(w_t) + (1 - t) C_A + t C_B. A code alone, which has no feature, has C = 0.
    SdicError for an inversion of another generator; ConfigError for t outside, and for two methods.
    """
    t = _share("t", t)
    first, second = _pair(inverter, first, second)
    if t in (0, 1):
        return second if t else first
    with inverter._autocast():
        first, second = _compensated(inverter, first, second)
        latent, base = (torch.lerp(getattr(first, n), getattr(second, n), t) for n in ("latent", "base_latent"))
        extras = {
            name: torch.lerp(tensor, second.extras[name], t)
            for name, tensor in first.extras.items()
            if _blends(tensor, second.extras.get(name))
        }
        feature = None
        if first.feature is not None and second.feature is not None:
            start, end = first.feature, second.feature
            if BASE in extras:
                start, end = (inverter._edited_feature(one, base - one.base_latent) for one in (first, second))
            feature = torch.lerp(start, end, t)
        mixed = replace(first, latent=latent, base_latent=base, feature=feature, photo=None, extras=extras)
        return _drawn(inverter, mixed)


@without_gradients
def mix(
    inverter: Inverter, first: Inversion, second: Inversion, rows: Sequence[int], strength: float = 1.0
) -> Inversion:
    """`first` with the latent rows of `second` that are named: style mixing. Content is that of `first`, style that of
    `second`; strength 0 is `first`, bit for bit, and 1 takes the rows over whole.

    Rows up to the compensated layer k draw the feature anew, as an edit of `first` by (w_B - w_A) in these rows; the
    compensation is that of `first`. Rows above k only style what is drawn from it, and leave F' as it is.
    ConfigError for rows that the generator does not have, and for no rows; else as `interpolate`.
    """
    strength, count = _share("strength", strength), inverter.generator.config.latent_rows
    wrong = [row for row in rows if type(row) is not int or not 0 <= row < count]
    if wrong or not len(rows):
        raise ConfigError(f"rows must be some of 0 to {count - 1}, got {wrong or 'none'}")
    first, second = _pair(inverter, first, second)
    if strength == 0:
        return first
    share = torch.zeros(count, 1, device=first.latent.device)
    share[list(rows)] = strength
    with inverter._autocast():
        latent, base = (torch.lerp(getattr(first, n), getattr(second, n), share) for n in ("latent", "base_latent"))
        feature = first.feature
        if feature is not None and BASE in first.extras and min(rows) <= first.layer:
            feature = inverter._edited_feature(first, base - first.base_latent)
        return _drawn(inverter, replace(first, latent=latent, base_latent=base, feature=feature, photo=None))


def parse_rows(text: str, count: int) -> list[int]:
    """Rows in words: "8-17" (both ends included), "4,8-11", "coarse", "middle", "fine", of the `count` that there are.

    ConfigError lists the choices.
    """
    rows: list[int] = []
    for part in text.split(","):
        low, dash, high = part.strip().partition("-")
        if low in WORDS and not dash:
            rows += range(*WORDS[low])[: max(0, count - WORDS[low][0])]
        elif low.isdecimal() and (high.isdecimal() if dash else True) and int(low) <= int(high or low) < count:
            rows += range(int(low), int(high or low) + 1)
        else:
            rows = []
            break
    if not rows:
        raise ConfigError(
            f"rows {text!r}: write such as 4,8-11 of the rows 0 to {count - 1}, or {', '.join(WORDS)}; the first draw "
            "the coarse form, the last the colours"
        )
    return sorted(set(rows))


def _share(name: str, value: float) -> float:
    number = float(value)
    if not (math.isfinite(number) and 0 <= number <= 1):
        raise ConfigError(f"{name} must be a number from 0 to 1, got {value}")
    return number


def _pair(inverter: Inverter, first: Inversion, second: Inversion) -> tuple[Inversion, Inversion]:
    """Both, of this generator and of one length; ConfigError where they do not go together."""
    first, second = own(inverter, first), own(inverter, second)
    if first.method and second.method and first.method != second.method:
        raise ConfigError(f"inversions by {first.method!r} and by {second.method!r} do not mix; invert both by one")
    if first.feature is not None and second.feature is not None and first.layer != second.layer:
        raise ConfigError(f"features of layers {first.layer} and {second.layer} do not mix; invert both with one layer")
    count = max(len(first), len(second))
    if len(first) not in (1, count) or len(second) not in (1, count):
        raise ConfigError(f"{len(first)} inversions do not go with {len(second)}")
    first, second = (one if len(one) == count else one[[0] * count] for one in (first, second))
    return first, second


def _compensated(inverter: Inverter, *ends: Inversion) -> list[Inversion]:
    """Both with a feature, if one has: that of a code alone is the generator's own."""
    layers = [end.layer for end in ends if end.feature is not None and BASE in end.extras]
    found = []
    for end in ends:
        if end.feature is None and layers:
            own = inverter.generator.synthesis.until(layers[0], end.base_latent, noise=inverter.noise).feature
            end = replace(end, feature=own, layer=layers[0], extras={**end.extras, BASE: own})
        found.append(end)
    return found


def _blends(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.is_floating_point() and one.shape == other.shape


def _drawn(inverter: Inverter, mixed: Inversion) -> Inversion:
    """With the picture of its code and feature, and with the generator's own feature at its code."""
    extras = {name: tensor for name, tensor in mixed.extras.items() if name != SIGNATURE}
    mixed = replace(mixed, method=inverter.name, generator=inverter.fingerprint, extras=extras)
    if mixed.feature is None or BASE not in extras:
        return replace(mixed, image=inverter._edit(mixed, [], []).float())
    own = inverter.generator.synthesis.until(mixed.layer, mixed.base_latent, noise=inverter.noise).feature
    image = inverter.render(mixed.latent, mixed.feature, mixed.layer)
    mixed = replace(mixed, image=image, extras={**extras, BASE: own})
    return mixed.to(torch.float32)
