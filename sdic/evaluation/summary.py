"""From a line a picture to the numbers of a table: means, gains, and up to which change a method is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sdic.evaluation.intervals import difference, interval

Value = float | str | None
"""A number; None where it does not exist; "needs FILE" where the network that measures it is not here."""


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
    "lpips": Column("LPIPS", 4, "lower", "ratio"),
    "lpips_random": Column("LPIPS, random", 4, "lower", "ratio"),
    "perceptual": Column("perceptual", 4, "lower", "ratio"),
    "id": Column("ID", 3, "higher", "share"),
    "from_w": Column("from W", 1, ""),
    "nscd": Column("NSCD", 3, ""),
    "seconds": Column("seconds", 3, "lower", "ratio"),
}
"""What is said of an inversion, where it was measured; a new metric is a line here."""

EDITING: dict[str, Column] = {
    **{name: INVERSION[name] for name in ("l2", "lpips", "lpips_random", "perceptual", "id")},
    "attribute_error": Column("attribute error", 2, "lower"),
    "moved": Column("moved", 2, ""),
    "details_kept": Column("details kept", 3, "higher"),
    "region_l2": Column("region L2", 4, "lower"),
    "strength": Column("strength", 2, ""),
    "out_of_reach": Column("out of reach", 3, "lower"),
}
"""What is said of an edit against its truth, where it was measured."""

DISTANCES = ("l2", "lpips", "lpips_random", "perceptual", "region_l2")
"""Measures by which an edit is closer to the truth than another."""

GAINS = {
    "difference": lambda first, other: other - first,
    "ratio": lambda first, other: other / first if first else None,
    "share": lambda first, other: (other - first) / (1 - first) if first != 1 else None,
}
"""How a method is compared with the first one: "share" is how much of the way to 1 it goes."""


def mean(values: Sequence[Value]) -> Value:
    """The mean of those that are known; None where none is, or where it is not finite (the PSNR of equal pictures)."""
    known = [value for value in values if isinstance(value, float | int)]
    found = sum(known) / len(known) if known else math.nan
    return found if math.isfinite(found) else None


def _means(columns: Mapping[str, Column], rows: Sequence[dict[str, Any]], lacking: Mapping[str, str]) -> dict[str, Any]:
    """The mean of every column that the rows have, and the cell that stands for one that lacks its network."""
    present = {name for row in rows for name in row} | set(lacking)
    return {name: lacking.get(name, mean([row.get(name) for row in rows])) for name in columns if name in present}


def _sureness(
    columns: Mapping[str, Column], rows: Sequence[dict[str, Any]], first: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """`interval`: of the mean of every column that the rows have. `difference`: mean, low and high of what the rows
    have more than those of the same pictures in `first`; without it where `first` is empty."""
    names = [name for name in columns if any(name in row for row in rows)]
    values = {name: [row.get(name) for row in rows] for name in names}
    found: dict[str, Any] = {"interval": {name: interval(values[name]) for name in names}}
    if first:
        found["difference"] = {name: difference([row.get(name) for row in first], values[name]) for name in names}
    return found


Rows = Sequence[dict[str, Any]]


def of_inversions(rows: Rows, lacking: Mapping[str, str], first: Rows = ()) -> dict[str, Any]:
    """Lines of a results file -> the mean of every measure, how sure it is, and how many images. lacking: of
    `MetricNetworks`. first: the lines of the first method for the same pictures, where this is not it."""
    return {**_means(INVERSION, rows, lacking), "images": len(rows), **_sureness(INVERSION, rows, first)}


def of_edits(rows: Rows, lacking: Mapping[str, str], first: Rows = ()) -> dict[str, dict[str, dict[str, Any]]]:
    """Lines of a results file -> attribute -> change -> the mean of every measure, how sure it is, and how many images
    (and those that have details, which `details_kept` is the mean over). lacking, first: as above."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for attribute in rows[0] if rows else ():
        found[attribute] = {}
        for change in rows[0][attribute]:
            part = [row[attribute][change] for row in rows]
            numbers = _means(EDITING, part, lacking)
            numbers["details_images"] = sum(row["details_kept"] is not None for row in part)
            sure = _sureness(EDITING, part, [row[attribute][change] for row in first])
            found[attribute][change] = {**numbers, "images": len(part), **sure}
    return found


def over_changes(changes: dict[str, dict[str, Any]]) -> dict[str, Value]:
    """One attribute's edits -> the mean over its changes; `moved` and `strength` as shares of what was asked."""
    found: dict[str, Value] = {}
    first = next(iter(changes.values()))
    for name in (name for name in EDITING if name in first):
        values = [numbers[name] for numbers in changes.values()]
        if name in ("moved", "strength"):
            asked = [float(change) for change in changes]
            values = [None if v is None else v / a for v, a in zip(values, asked, strict=True)]
        found[name] = first[name] if isinstance(first[name], str) else mean(values)
    return found


def gain(first: dict[str, Any], other: dict[str, Any]) -> dict[str, Value]:
    """How `other` compares with `first`, each measure in its own way."""
    return {
        name: GAINS[column.gain](first[name], other[name])
        if isinstance(first[name], float | int) and isinstance(other[name], float | int)
        else None
        for name, column in INVERSION.items()
        if column.gain and name in first
    }


def better_up_to(first: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]) -> dict[str, Value]:
    """Up to which change of one attribute `other` is closer to the truth than `first`, by each of DISTANCES.

    0 where it is not even at the smallest change; None where it still is at the largest one, which is under "largest".
    """
    found: dict[str, Value] = {}
    asked = sorted(first, key=float)
    for name in DISTANCES:
        if isinstance(first[asked[0]].get(name, ""), str):
            continue
        pairs = [(other[change][name], first[change][name]) for change in asked]
        count = [*(None not in pair and pair[0] < pair[1] for pair in pairs), False].index(False)
        found[name] = None if count == len(asked) else float(asked[count - 1]) if count else 0.0
    return {**found, "largest": float(asked[-1])}
