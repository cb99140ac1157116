"""Results as tables, in Markdown that is aligned to be read as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sdic.evaluation.summary import EDITING, GAINS, INVERSION, Column, Value, over_changes

ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def inversion_table(results: dict[str, dict[str, Any]], gains: dict[str, dict[str, Value]]) -> str:
    """A row a method, and below them what each later one gains over the first."""
    header = ["method", *(column.title + ARROWS[column.better] for column in INVERSION.values()), "images"]
    rows = [
        [label, *(_number(numbers[name], column) for name, column in INVERSION.items()), str(numbers["images"])]
        for label, numbers in results.items()
    ]
    first = next(iter(results), "")
    for label, numbers in gains.items():
        cells = [_gain(numbers[name], column) for name, column in INVERSION.items()]
        rows.append([f"{label} against {first}", *cells, ""])
    return table(header, rows)


def editing_table(edits: dict[str, dict[str, dict[str, Any]]]) -> str:
    """A row for each method and attribute: means over the changes asked for."""
    titles = {"moved": "moved / asked", "strength": "strength / asked"}
    names = [titles.get(name, column.title) + ARROWS[column.better] for name, column in EDITING.items()]
    rows = []
    for attribute in _attributes(edits):
        for label, found in edits.items():
            changes = found[attribute]
            means = over_changes(changes)
            cells = [_number(means[name], column) for name, column in EDITING.items()]
            rows.append([label, f"{attribute} ±{', '.join(changes)}", *cells])
    return table(["method", "edit", *names], rows)


def changes_table(edits: dict[str, dict[str, dict[str, Any]]]) -> str:
    """A row for each method, attribute and change."""
    rows = []
    for attribute in _attributes(edits):
        for change in next(iter(edits.values()))[attribute]:
            for label, found in edits.items():
                numbers = found[attribute][change]
                cells = [_number(numbers[name], column) for name, column in EDITING.items()]
                rows.append([label, f"{attribute} ±{change}", *cells, str(numbers["images"])])
    titles = [column.title + ARROWS[column.better] for column in EDITING.values()]
    return table(["method", "edit", *titles, "images"], rows)


def paying(attribute: str, unit: str, label: str, baseline: str, found: dict[str, Value]) -> str:
    """A sentence about `summary.stops_paying`."""
    words = []
    for name, value in found.items():
        if name == "largest":
            continue
        if value is None:
            words.append(f"{name} up to {found['largest']:g} {unit} and beyond")
        elif value:
            words.append(f"{name} up to {value:g} {unit}")
        else:
            words.append(f"{name} at no change that was asked for")
    return f"Changes of {attribute} at which {label} is closer to the truth than {baseline}: {'; '.join(words)}."


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = []
    for line in lines:
        cells = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append(f"| {' | '.join(cells)} |")
    rule = ["-" * width if not i else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    text.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(text)


def _attributes(edits: dict[str, dict[str, dict[str, Any]]]) -> list[str]:
    return list(next(iter(edits.values()), {}))


def _number(value: Value, column: Column) -> str:
    return "-" if value is None else f"{value:.{column.digits}f}"


def _gain(value: Value, column: Column) -> str:
    if value is None or column.gain not in GAINS:
        return "-"
    if column.gain == "ratio":
        return f"x {value:.2f}"
    if column.gain == "share":
        return f"{100 * value:+.0f}% of the rest"
    return f"{value:+.{column.digits}f}"
