"""Find a direction of W or W+ for an attribute, and write it with what was measured.

Shapes: L latent rows, D style width, F numbers in a code (D of W, L * D of W+).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.direction import Direction
from sdic.editing.boundaries import calibrate, edit_vector, read_off
from sdic.editing.directions import load_direction, save_direction
from sdic.editing.ganspace import LIMITS, moments
from sdic.errors import ConfigError, SdicError
from sdic.finding.opening import Opened, first_of, open_source
from sdic.finding.settings import FindSettings
from sdic.finding.sources import Source
from sdic.utils.files import write_atomic


@dataclass(frozen=True)
class Found:
    """A direction, as it was written, and what stands in the JSON beside it."""

    direction: Direction
    report: dict[str, Any]


def find(settings: FindSettings) -> Found:
    """Find the direction of `settings.name` and write it with its report. SdicError for what stops it."""
    kind, opened = settings.check(), Opened.of(settings.model, settings.device)
    source = open_source(settings, kind, opened)
    scores = source.column(settings.name)
    labels = len(scores[torch.isfinite(scores)].unique()) == 2
    how: Any = settings.fit or ("svm" if labels or settings.space == "w+" else "regression")
    along = settings.along or ("covariance" if settings.space == "w" else "normal")

    def codes() -> Iterator[Tensor]:
        return (part.mean(1) if settings.space == "w" else part.flatten(1) for part in source.latents())

    names = [settings.name, *(name for name in settings.condition if name in source.names)]
    readouts = {name: read_off(codes, source.column(name), how, settings.extremes) for name in names}
    normals = torch.stack([readout.normal for readout in readouts.values()])
    others = [name for name in settings.condition if name not in source.names]
    if others:
        normals = torch.cat([normals, *(_given(name, along, opened, normals.shape[1]) for name in others)])
    _, covariance = moments(opened.generator)
    move = edit_vector(normals, 0, covariance if along == "covariance" else None)
    direction, measured = _in_units(settings, opened, source, move, covariance)
    found = readouts[settings.name]
    about = {
        "found": f"{how} on {found.used} codes ({source.about['source']}), along the {along}",
        "generator": opened.identity,
        "accuracy": f"{found.accuracy:.4f}",
        "samples": str(found.used),
    }
    direction = replace(direction, source=about)
    report = {
        "name": settings.name,
        "file": settings.out,
        "unit": direction.unit,
        "limits": direction.limits,
        "accuracy": found.accuracy,
        "correlation": found.correlation,
        "samples": found.used,
        **source.about,
        "fit": how,
        "along": along,
        "space": settings.space,
        "condition": {name: readouts[name].accuracy if name in readouts else None for name in settings.condition},
        "generator": opened.identity,
        "model": settings.model,
        "domain": opened.domain,
        **measured,
        "left_out": source.problems,
    }
    return written(settings, direction, report)


def _given(name: str, along: str, opened: Opened, width: int) -> Tensor:
    """The unit vector [1, F] of a direction that is to be left out of another."""
    direction = load_direction(name, opened.domain, opened.generator)
    if along != "normal" or direction.kind != "add":
        raise ConfigError(
            f"--condition {name}: a direction of kind add is projected out along the normal (--along normal); with the "
            "covariance, conditions are attributes of the same source"
        )
    rows = opened.generator.config.latent_rows
    vector = direction.delta if width == direction.delta.shape[1] else direction.delta.expand(rows, -1)
    vector = vector.mean(0) if vector.numel() != width else vector
    return (vector / vector.norm()).reshape(1, -1).float()


def _in_units(
    settings: FindSettings, opened: Opened, source: Source, move: Tensor, covariance: Tensor
) -> tuple[Direction, dict[str, Any]]:
    """The direction [D] or [L * D] in units of what measures it, else of the generator's own codes; and the curve."""
    config = opened.generator.config
    delta = move.reshape(-1, config.style_dim)
    if source.measure is None:
        along = delta.sum(0).double()  # own codes have the same row throughout
        scale = float((along @ covariance @ along).clamp_min(0).sqrt())
        if not scale > 0:
            raise SdicError("the generator's own codes do not vary along this direction")
        unit = "standard deviations of the generator's own codes"
        return Direction(delta * scale, name=settings.name, unit=unit, limits=LIMITS), {}
    place, measure = source.names.index(settings.name), source.measure
    probes = torch.cat([part[:, 0] for part in first_of(source, settings.probes)])
    spread = source.scores.std(0)
    curve = calibrate(probes, move, lambda w: measure(w[:, None])[:, place], 2 * float(spread[place]))
    delta = delta * curve.per_unit
    before = measure(probes[:, None])
    after = measure(probes[:, None] + float(spread[place]) * delta)
    change = ((after - before).mean(0) / spread).tolist()
    side = {name: change[other] for other, name in enumerate(source.names) if other != place}
    unit = f"{settings.name} as {source.about.get('network', 'the network')} measures it"
    direction = Direction(delta, name=settings.name, unit=unit, limits=curve.limits)
    return direction, {"calibration": asdict(curve), "others_move": {"for": 1.0, "in": "standard deviations", **side}}


def written(settings: FindSettings, direction: Direction, report: dict[str, Any]) -> Found:
    """Write the direction, and the report beside it."""
    save_direction(settings.out, direction)
    write_atomic(Path(settings.out).with_suffix(".json"), json.dumps(report, indent=1) + "\n")
    return Found(direction, report)
