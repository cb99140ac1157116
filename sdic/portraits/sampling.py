"""Random portraits: a seed is a portrait, whatever else is drawn with it and wherever it is drawn."""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.errors import ConfigError

from .law import COORDINATES, IDENTITY_COORDINATES, portrait_at
from .params import (
    DETAIL_SWITCHES,
    EARRINGS,
    GLASSES,
    HAIR_STYLES,
    HATS,
    PATTERNS,
    SCARS,
    TEXTS,
    PortraitParams,
    specs_of,
)

Random = np.random.Generator
Drawn = dict[str, "float | int | list[float]"]
# Hair styles that leave no room for earrings.
_COVERED_EARS = ("afro", "bob", "long", "wavy")
# Portraits computed together, and a number that they are filled up to a multiple of: vector instructions and the plain
# ones for what is left over of a batch round differently.
_CHUNK, _WHOLE = 1024, 64


def _hsv(hue: float, saturation: float, value: float) -> list[float]:
    return list(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


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
    details: bool | Sequence[bool] = False,
    *,
    nuisance_seeds: int | Iterable[int] | None = None,
    held_out: bool | None = None,
    device: torch.device | str = "cpu",
) -> PortraitParams:
    """Draw one portrait a seed.

    Args:
        seeds: one or more non-negative seeds; each fixes a person, and with that the whole portrait.
        details: switch details on (at least one each), outside the generator's domain; of all, or a flag for each seed.
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
    flags = [details] * len(people) if isinstance(details, bool) else details
    if len(flags) != len(people):
        raise ConfigError(f"{len(people)} seeds but {len(flags)} flags of details")
    portraits = _portraits(_coordinates(people, moments))
    rows = torch.tensor(flags).nonzero()[:, 0]
    if len(rows):
        styles = [HAIR_STYLES[number] for number in portraits.hair_style[rows].tolist()]
        streams = [_stream(moments[row], 2) for row in rows.tolist()]
        drawn = [draw_details(stream, style, held_out) for stream, style in zip(streams, styles, strict=True)]
        values = portraits.as_dict()
        for spec in specs_of("detail"):
            column = torch.tensor([detail[spec.name] for detail in drawn], dtype=spec.dtype)
            values[spec.name] = values[spec.name].index_copy(0, rows, column)
        portraits = portraits.replace(**values)
    return portraits.to(device)


def _coordinates(people: list[int], moments: list[int]) -> Tensor:
    """[B, COORDINATES] standard normal numbers, float64: those of the person from one seed, the rest from another.

    They are not brought to a common length as a generator's codes are: a person's then depended on the moment's.
    """
    rows = [
        np.concatenate(
            [
                _stream(person, 0).standard_normal(IDENTITY_COORDINATES),
                _stream(moment, 1).standard_normal(COORDINATES - IDENTITY_COORDINATES),
            ]
        )
        for person, moment in zip(people, moments, strict=True)
    ]
    return torch.from_numpy(np.stack(rows))


def _portraits(coordinates: Tensor) -> PortraitParams:
    """`portrait_at`, the same to the last bit whatever a portrait is computed with."""
    parts = coordinates.split(_CHUNK)
    filled = [F.pad(part, (0, 0, 0, -len(part) % _WHOLE)) for part in parts]
    return PortraitParams.cat([portrait_at(f)[: len(part)] for f, part in zip(filled, parts, strict=True)])


def _seed_list(seeds: int | Iterable[int]) -> list[int]:
    listed = [int(seeds)] if isinstance(seeds, (int, np.integer)) else [int(seed) for seed in seeds]
    if not listed:
        raise ConfigError("no seeds given")
    if min(listed) < 0:
        raise ConfigError(f"seeds must not be negative: {min(listed)}")
    return listed
