"""From a line a picture to the numbers of a table: means, gains, and how far compensating pays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Value = float | None


@dataclass(frozen=True)
class Column:
    """title, digits: in tables. better: "higher", "lower" or "" (neither). gain: how two methods are compared (GAINS),
    "" for not at all."""

    title: str
    digits: int
    better: str
    gain: str = ""


INVERSION: dict[str, Column] = {
    "psnr": Column("PSNR", 2, "higher", "difference"),
    "ssim": Column("SSIM", 3, "higher", "difference"),
    "l2": Column("L2", 4, "lower", "ratio"),
    "perceptual": Column("perceptual", 4, "lower", "ratio"),
    "id": Column("ID", 3, "higher", "share"),
    "seconds": Column("seconds", 3, "lower", "ratio"),
}
"""What is told of an inversion; a new measure is a line here."""

EDITING: dict[str, Column] = {
    "l2": Column("L2", 4, "lower"),
    "perceptual": Column("perceptual", 4, "lower"),
    "id": Column("ID", 3, "higher"),
    "attribute_error": Column("attribute error", 2, "lower"),
    "moved": Column("moved", 2, ""),
    "details_kept": Column("details kept", 3, "higher"),
    "region_l2": Column("region L2", 4, "lower"),
    "strength": Column("strength", 2, ""),
    "out_of_reach": Column("out of reach", 3, "lower"),
}
"""What is told of an edit against its truth."""

GAINS = {
    "difference": lambda first, other: other - first,
    "ratio": lambda first, other: other / first if first else None,
    "share": lambda first, other: (other - first) / (1 - first) if first != 1 else None,
}
"""How a method is compared with the first one: "share" is how much of the way to 1 it goes."""


def mean(values: Sequence[Value]) -> Value:
    """The mean of those that are known; None where none is, or where it is not finite (the PSNR of equal pictures)."""
    known = [value for value in values if value is not None]
    found = sum(known) / len(known) if known else math.nan
    return found if math.isfinite(found) else None


def of_inversions(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Journal lines -> the mean of every measure, and how many images."""
    return {**{name: mean([row[name] for row in rows]) for name in INVERSION}, "images": len(rows)}


def of_edits(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Journal lines -> attribute -> change -> the mean of every measure, and how many images (and those that have
    details, which `details_kept` is the mean over)."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for attribute in rows[0] if rows else ():
        found[attribute] = {}
        for change in rows[0][attribute]:
            part = [row[attribute][change] for row in rows]
            numbers: dict[str, Any] = {name: mean([row[name] for row in part]) for name in EDITING}
            numbers["details_images"] = sum(row["details_kept"] is not None for row in part)
            found[attribute][change] = {**numbers, "images": len(part)}
    return found


def over_changes(changes: dict[str, dict[str, Any]]) -> dict[str, Value]:
    """One attribute's edits -> the mean over its changes; `moved` and `strength` as shares of what was asked."""
    found: dict[str, Value] = {}
    for name in EDITING:
        values = [numbers[name] for numbers in changes.values()]
        if name in ("moved", "strength"):
            asked = [float(change) for change in changes]
            values = [None if v is None else v / a for v, a in zip(values, asked, strict=True)]
        found[name] = mean(values)
    return found


def gain(first: dict[str, Any], other: dict[str, Any]) -> dict[str, Value]:
    """How `other` compares with `first`, each measure in its own way."""
    return {
        name: None if first[name] is None or other[name] is None else GAINS[column.gain](first[name], other[name])
        for name, column in INVERSION.items()
        if column.gain
    }


def stops_paying(
    baseline: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]], measures: Sequence[str]
) -> dict[str, Value]:
    """Up to which change of one attribute `other` has less error than `baseline`, by each measure.

    0 where not even the smallest change pays; None where the largest one, told under "largest", still does.
    """
    found: dict[str, Value] = {}
    asked = sorted(baseline, key=float)
    for name in measures:
        last = 0.0
        for change in asked:
            ours, theirs = other[change][name], baseline[change][name]
            if ours is None or theirs is None or not ours < theirs:
                found[name] = last
                break
            last = float(change)
        else:
            found[name] = None
    return {**found, "largest": float(asked[-1])}
