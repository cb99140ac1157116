"""Random portraits: a seed is a portrait, whatever else is drawn with it and wherever it is drawn."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch

from sdic.errors import ConfigError

from .params import (
    CLOTHES_STYLES,
    DETAIL_SWITCHES,
    EARRINGS,
    GLASSES,
    HAIR_STYLES,
    HATS,
    PATTERNS,
    SCARS,
    SPECS,
    TEXTS,
    PortraitParams,
)

Random = np.random.Generator
Drawn = dict[str, "float | int | list[float]"]

# Tables of the law by which portraits are drawn; `sdic.pretraining.sampler` follows the same law and reads them too.
# Colours are sRGB; neighbours are mixed, so that hair and eyes come in all shades between.
# Hair from black to pale blond.
HAIR_COLORS = (
    (0.09, 0.075, 0.07),
    (0.17, 0.11, 0.08),
    (0.30, 0.19, 0.12),
    (0.44, 0.28, 0.16),
    (0.62, 0.44, 0.25),
    (0.84, 0.69, 0.43),
    (0.91, 0.81, 0.60),
)
# Hair from auburn to ginger.
RED_HAIR_COLORS = ((0.40, 0.14, 0.08), (0.66, 0.28, 0.11), (0.78, 0.45, 0.22))
# Eyes from dark brown over green and grey to blue.
EYE_COLORS = (
    (0.22, 0.13, 0.08),
    (0.36, 0.22, 0.12),
    (0.50, 0.36, 0.18),
    (0.36, 0.46, 0.24),
    (0.42, 0.50, 0.50),
    (0.30, 0.48, 0.66),
)
# Relative frequency of HAIR_STYLES at the masculine end of the hidden masculine-feminine scale.
MASCULINE_HAIR_STYLES = (0.8, 1.3, 2.2, 1.8, 0.7, 1.2, 0.7, 0.1, 0.25, 0.2, 0.1)
# The same at its feminine end.
FEMININE_HAIR_STYLES = (0.05, 0.15, 0.35, 0.2, 0.9, 1.0, 0.9, 1.8, 2.0, 1.8, 1.6)
# Hair styles that leave no room for earrings.
_COVERED_EARS = ("afro", "bob", "long", "wavy")


def _mix(table: Sequence[Sequence[float]], place: float) -> list[float]:
    """Colour at `place` (0..1) along a table."""
    at = min(max(place, 0.0), 1.0) * (len(table) - 1)
    low = min(int(at), len(table) - 2)
    return [a + (b - a) * (at - low) for a, b in zip(table[low], table[low + 1], strict=True)]


def _hsv(hue: float, saturation: float, value: float) -> list[float]:
    return list(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _bell(r: Random, deviation: float, limit: float) -> float:
    return float(np.clip(r.normal(0, deviation), -limit, limit))


def _factor(r: Random) -> float:
    """A facial proportion in -1..1, more often near the middle."""
    return _bell(r, 0.5, 1.0)


def draw_identity(r: Random) -> Drawn:
    """The identity fields of one person."""
    femininity = r.uniform()
    masculine = 1 - 2 * femininity  # -1..1
    tone = float(r.uniform() ** 1.4)
    weights = np.asarray(MASCULINE_HAIR_STYLES) * (1 - femininity) + np.asarray(FEMININE_HAIR_STYLES) * femininity
    style = int(r.choice(len(HAIR_STYLES), p=weights / weights.sum()))
    # Dark skin comes mostly with dark hair and eyes, light skin with all.
    light = 1 - tone
    hair_place = r.beta(1.0 + 0.6 * light, 1.2 + 3.5 * tone)
    hair = _mix(RED_HAIR_COLORS, r.uniform()) if r.uniform() < 0.14 * light else _mix(HAIR_COLORS, hair_place)
    if r.uniform() < 0.02:
        hair = _hsv(r.uniform(), r.uniform(0.4, 0.7), r.uniform(0.4, 0.8))
    bearded = femininity < 0.55 and r.uniform() < 0.42
    whiskered = (bearded and r.uniform() < 0.8) or (femininity < 0.5 and r.uniform() < 0.08)
    freckles = float(r.uniform() < 0.22) * r.uniform(0.3, 1.0) * float(np.clip(1.3 - 1.6 * tone, 0, 1))
    return {
        "face_width": _factor(r),
        "face_length": _factor(r),
        "jaw_width": float(np.clip(_factor(r) + 0.35 * masculine, -1, 1)),
        "chin": float(np.clip(_factor(r) + 0.25 * masculine, -1, 1)),
        "cheeks": _factor(r),
        "nose_width": float(np.clip(_factor(r) + 0.15 * masculine, -1, 1)),
        "nose_length": _factor(r),
        "nose_height": _factor(r),
        "mouth_width": _factor(r),
        "lips": float(np.clip(_factor(r) - 0.3 * masculine, -1, 1)),
        "lip_tint": float(max(0.0, femininity - 0.45) * 1.8 * r.uniform()),
        "eye_size": float(np.clip(_factor(r) - 0.2 * masculine, -1, 1)),
        "eye_spacing": _factor(r),
        "eye_tilt": _factor(r),
        "lashes": float(np.clip(0.15 + 0.75 * femininity * r.uniform(0.4, 1.1), 0, 1)),
        "eye_color": _mix(EYE_COLORS, r.uniform() * (0.25 + 0.75 * light)),
        "brow_thickness": float(np.clip(_factor(r) + 0.45 * masculine, -1, 1)),
        "brow_height": _factor(r),
        "brow_arch": float(np.clip(_factor(r) - 0.35 * masculine, -1, 1)),
        "ear_size": _factor(r),
        "neck_width": float(np.clip(_factor(r) * 0.7 + 0.55 * masculine, -1, 1)),
        "skin_tone": tone,
        "skin_warmth": _factor(r),
        "freckles": freckles,
        "hair_style": style,
        "hair_color": hair,
        "hair_volume": float(r.uniform(-1, 1)),
        "hair_line": _factor(r),
        "hair_part": float(r.uniform(-1, 1)),
        "hair_phase": float(r.uniform(-1, 1)),
        "balding": float(r.uniform()) * float(femininity < 0.5),
        "beard": float(r.uniform(0.15, 1.0)) if bearded else 0.0,
        "moustache": float(r.uniform(0.4, 1.0)) if whiskered else 0.0,
    }


def draw_nuisance(r: Random) -> Drawn:
    """Attributes and scene: everything that may change while a person stays the same person."""
    hue = r.uniform()
    second_hue = hue + r.normal(0, 0.12)
    brightness = r.uniform(0.35, 0.9)
    return {
        "yaw": _bell(r, 18.0, 48.0),
        "pitch": _bell(r, 5.0, 14.0),
        "roll": _bell(r, 3.5, 11.0),
        "smile": float(np.clip(r.normal(0.3, 0.5), -1, 1)),
        "age": float(r.uniform(6, 18) if r.uniform() < 0.12 else r.uniform(18, 84)),
        "light_azimuth": _bell(r, 32.0, 70.0),
        "light_elevation": float(r.uniform(10, 55)),
        "light_intensity": float(np.clip(r.normal(1.0, 0.15), 0.65, 1.35)),
        "light_warmth": _bell(r, 0.4, 1.0),
        "light_fill": float(np.clip(r.normal(1.0, 0.2), 0.55, 1.4)),
        "background_top": _hsv(hue, r.uniform(0.08, 0.55), brightness),
        "background_bottom": _hsv(
            second_hue, r.uniform(0.08, 0.55), float(np.clip(brightness + r.normal(0, 0.15), 0.2, 0.95))
        ),
        "clothes_style": int(r.integers(len(CLOTHES_STYLES))),
        "clothes_color": _hsv(r.uniform(), r.uniform(0.05, 0.65), r.uniform(0.15, 0.85)),
    }


def _some(r: Random, chance: float, count: int) -> int:
    """0 with probability 1 - chance, else 1..count-1."""
    return int(r.integers(1, count)) if r.uniform() < chance else 0


def _draw_details_once(r: Random, style: str) -> Drawn:
    cold = r.uniform()
    ink_light = r.uniform() < 0.5
    metal = (0.95, 0.76, 0.33) if r.uniform() < 0.6 else (0.85, 0.86, 0.90)
    earrings = _some(r, 0.45, len(EARRINGS))
    return {
        "glasses": _some(r, 0.45, len(GLASSES)),
        "glasses_color": _hsv(r.uniform(), r.uniform(0.2, 0.9), r.uniform(0.08, 0.6)),
        "hat": _some(r, 0.35, len(HATS)),
        "hat_color": _hsv(cold, r.uniform(0.3, 0.9), r.uniform(0.25, 0.95)),
        "hat_trim_color": _hsv(cold + r.uniform(0.2, 0.8), r.uniform(0.1, 0.9), r.uniform(0.3, 0.95)),
        "earrings": 0 if style in _COVERED_EARS else earrings,
        "earrings_color": list(metal),
        "moles": float(r.integers(1, 4)) if r.uniform() < 0.3 else 0.0,
        "mole_places": [float(v) for v in r.uniform(-0.9, 0.9, 6)],
        "scar": _some(r, 0.2, len(SCARS)),
        "scar_place": [
            float(r.choice([-1, 1]) * r.uniform(0.45, 0.8)),
            float(r.uniform(-0.5, 0.6)),
            float(r.uniform(-1, 1)),
        ],
        "clothes_pattern": _some(r, 0.4, len(PATTERNS)),
        "clothes_pattern_color": _hsv(r.uniform(), r.uniform(0.1, 0.9), r.uniform(0.2, 0.95)),
        "clothes_text": _some(r, 0.3, len(TEXTS)),
        "background_pattern": _some(r, 0.4, len(PATTERNS)),
        "background_pattern_color": _hsv(r.uniform(), r.uniform(0.1, 0.8), r.uniform(0.3, 0.95)),
        "background_text": _some(r, 0.2, len(TEXTS)),
        "text_color": _hsv(r.uniform(), r.uniform(0.0, 0.3), 0.95) if ink_light else _hsv(r.uniform(), 0.6, 0.12),
    }


def is_held_out(drawn: Drawn) -> bool:
    """Whether a combination of details is kept for validation and test: two fifths of all combinations of two or more.

    It depends on which kinds and variants of details are present, not on their colours or places.
    """
    present = [(place, kind) for place, name in enumerate(DETAIL_SWITCHES) if (kind := int(cast(float, drawn[name])))]
    # Any fixed rule that splits the combinations would do; this one does not follow single kinds.
    return len(present) >= 2 and sum((place + 1) * kind for place, kind in present) % 5 in (0, 2)


def draw_details(r: Random, style: str, held_out: bool | None = None) -> Drawn:
    """Details of one portrait, at least one of them switched on.

    `held_out` True draws only combinations for which :func:`is_held_out` holds, False only others, None any.
    """
    while True:
        drawn = _draw_details_once(r, style)
        if any(drawn[name] for name in DETAIL_SWITCHES) and held_out in (None, is_held_out(drawn)):
            return drawn


def _stream(seed: int, purpose: int) -> Random:
    return np.random.default_rng([seed, purpose])


def sample_params(
    seeds: int | Iterable[int],
    details: bool = False,
    *,
    nuisance_seeds: int | Iterable[int] | None = None,
    held_out: bool | None = None,
    device: torch.device | str = "cpu",
) -> PortraitParams:
    """Draw one portrait a seed.

    Args:
        seeds: one or more non-negative seeds; each fixes a person, and with that the whole portrait.
        details: switch details on (at least one each), outside the generator's domain.
        nuisance_seeds: seeds (one, or as many as `seeds`) for pose, smile, age, light, background, clothes and details
            instead: the same `seeds` with other `nuisance_seeds` are the same people seen otherwise.
        held_out: restrict details to the combinations kept for validation and test (True) or to the others (False).
        device: where the record is put; the numbers do not depend on it.

    Raises:
        ConfigError: for negative seeds, no seeds, or seeds and nuisance seeds that do not match in number.
    """
    people = _seed_list(seeds)
    moments = people if nuisance_seeds is None else _seed_list(nuisance_seeds)
    if len(moments) == 1:
        moments = moments * len(people)
    if len(moments) != len(people):
        raise ConfigError(f"{len(people)} seeds but {len(moments)} nuisance seeds")
    drawn = [_draw(person, moment, details, held_out) for person, moment in zip(people, moments, strict=True)]
    return PortraitParams(
        **{
            s.name: torch.tensor([d.get(s.name, _default(s.default, s.width)) for d in drawn], dtype=s.dtype)
            for s in SPECS
        }
    ).to(device)


def _default(value: float, width: int) -> float | list[float]:
    return value if width == 1 else [value] * width


def _draw(person: int, moment: int, details: bool, held_out: bool | None) -> Drawn:
    drawn = draw_identity(_stream(person, 0))
    drawn.update(draw_nuisance(_stream(moment, 1)))
    if details:
        style = HAIR_STYLES[int(cast(float, drawn["hair_style"]))]
        drawn.update(draw_details(_stream(moment, 2), style, held_out))
    return drawn


def _seed_list(seeds: int | Iterable[int]) -> list[int]:
    listed = [int(seeds)] if isinstance(seeds, (int, np.integer)) else [int(seed) for seed in seeds]
    if not listed:
        raise ConfigError("no seeds given")
    if min(listed) < 0:
        raise ConfigError(f"seeds must not be negative: {min(listed)}")
    return listed
