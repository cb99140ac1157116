"""Results as tables, in Markdown that is aligned to be read as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sdic.evaluation.summary import EDITING, GAINS, INVERSION, Column, Value, over_changes

Edits = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Row's name -> attribute -> change -> numbers."""
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def inversion_table(results: dict[str, dict[str, Any]], gains: dict[str, dict[str, Value]]) -> str:
    """A row a method, and below them what each later one gains over the first."""
    first = next(iter(results), "")
    columns = _present(INVERSION, results[first])
    header = ["method", *_titles(columns), "images"]
    rows = [
        [label, *(_number(numbers[name], column) for name, column in columns.items()), str(numbers["images"])]
        for label, numbers in results.items()
    ]
    for label, numbers in gains.items():
        rows.append([f"{label} against {first}", *(_gain(numbers[name], columns[name]) for name in columns), ""])
    return table(header, rows)


def editing_table(edits: Edits) -> str:
    """A row for each method and attribute: means over the changes asked for."""
    titles = {"moved": "moved / asked", "strength": "strength / asked"}
    rows, columns = [], _columns(edits)
    for attribute in _attributes(edits):
        for label, found in edits.items():
            means = over_changes(found[attribute])
            cells = [_number(means[name], column) for name, column in columns.items()]
            rows.append([label, f"{attribute} ±{', '.join(found[attribute])}", *cells])
    return table(["method", "edit", *_titles(columns, titles)], rows)


def changes_table(edits: Edits) -> str:
    """A row for each method, attribute and change."""
    rows, columns = [], _columns(edits)
    for attribute in _attributes(edits):
        for change in next(iter(edits.values()))[attribute]:
            for label, found in edits.items():
                numbers = found[attribute][change]
                cells = [_number(numbers[name], column) for name, column in columns.items()]
                rows.append([label, f"{attribute} ±{change}", *cells, str(numbers["images"])])
    return table(["method", "edit", *_titles(columns), "images"], rows)


def better_sentence(attribute: str, unit: str, label: str, first: str, found: dict[str, Value]) -> str:
    """A sentence about `summary.better_up_to`."""
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
    return f"Changes of {attribute} at which {label} is closer to the truth than {first}: {'; '.join(words)}."


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


def _present(columns: dict[str, Column], numbers: dict[str, Any]) -> dict[str, Column]:
    return {name: column for name, column in columns.items() if name in numbers}


def _columns(edits: Edits) -> dict[str, Column]:
    changes = next(iter(next(iter(edits.values())).values()))
    return _present(EDITING, next(iter(changes.values())))


def _titles(columns: dict[str, Column], other: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    return [other.get(name, column.title) + ARROWS[column.better] for name, column in columns.items()]


def _attributes(edits: Edits) -> list[str]:
    return list(next(iter(edits.values()), {}))


def _number(value: Value, column: Column) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.{column.digits}f}"


def _gain(value: Value, column: Column) -> str:
    if not isinstance(value, float | int) or column.gain not in GAINS:
        return "-"
    if column.gain == "ratio":
        return f"x {value:.2f}"
    if column.gain == "share":
        return f"{100 * value:+.0f}% of the rest"
    return f"{value:+.{column.digits}f}"
