"""Results as tables, in Markdown that is aligned to be read as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sdic.evaluation.summary import EDITING, INVERSION, Column, Value, over_changes

Edits = dict[str, dict[str, dict[str, dict[str, Any]]]]
"""Row's name -> attribute -> change -> numbers."""
INTERVALS = (
    "In brackets, the 95% interval of the mean over the pictures (bootstrap); differences are picture by picture."
)
ARROWS = {"higher": " ↑", "lower": " ↓", "": ""}


def inversion_table(results: dict[str, dict[str, Any]], gains: dict[str, dict[str, Value]]) -> str:
    """A row a method, and below them what each later one gains over the first."""
    first = next(iter(results), "")
    columns = {name: column for name, column in INVERSION.items() if name in results[first]}
    rows = [[label, *_cells(numbers, columns), str(numbers["images"])] for label, numbers in results.items()]
    for label, numbers in gains.items():
        rows.append([f"{label} against {first}", *(_gain(numbers.get(name), columns[name]) for name in columns), ""])
    return table(["method", *_titles(columns), "images"], rows)


def editing_table(edits: Edits) -> str:
    """A row for each method and attribute: means over the changes asked for."""
    titles = {"moved": "moved / asked", "strength": "strength / asked"}
    columns = _columns(edits)
    rows = [
        [label, f"{attribute} ±{', '.join(found[attribute])}", *_cells(over_changes(found[attribute]), columns)]
        for attribute in next(iter(edits.values()))
        for label, found in edits.items()
    ]
    return table(["method", "edit", *_titles(columns, titles)], rows)


def changes_table(edits: Edits) -> str:
    """A row for each method, attribute and change."""
    columns, rows = _columns(edits), []
    for attribute, changes in next(iter(edits.values())).items():
        for change in changes:
            for label, found in edits.items():
                numbers = found[attribute][change]
                rows.append([label, f"{attribute} ±{change}", *_cells(numbers, columns), str(numbers["images"])])
    return table(["method", "edit", *_titles(columns), "images"], rows)


def interval_table(results: dict[str, dict[str, Any]]) -> str:
    """A row a method: every mean with its interval; below them a row for each later one's difference to the first."""
    first = next(iter(results))
    columns = {name: column for name, column in INVERSION.items() if name in results[first]["interval"]}
    rows = [
        [label, *(_sure(numbers[name], numbers["interval"].get(name), column) for name, column in columns.items())]
        for label, numbers in results.items()
    ]
    rows += [
        [f"{label} - {first}", *_apart(numbers["difference"], columns)]
        for label, numbers in results.items()
        if label != first
    ]
    return table(["method", *_titles(columns)], rows)


def differences_table(edits: Edits, first: str) -> str:
    """A row for each change and each method but the first: how its edits differ from the first's, with intervals."""
    columns, rows = _columns(edits), []
    for attribute, changes in edits[first].items():
        for change in changes:
            for label, found in edits.items():
                if label != first:
                    apart = found[attribute][change]["difference"]
                    rows.append([f"{label} - {first}", f"{attribute} ±{change}", *_apart(apart, columns)])
    return table(["methods", "edit", *_titles(columns)], rows)


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
    lines.insert(1, ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    aligned = ([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])] for first, *others in lines)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in aligned)


def _columns(edits: Edits) -> dict[str, Column]:
    changes = next(iter(next(iter(edits.values())).values()))
    return {name: column for name, column in EDITING.items() if name in next(iter(changes.values()))}


def _titles(columns: dict[str, Column], other: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    return [other.get(name, column.title) + ARROWS[column.better] for name, column in columns.items()]


def _cells(numbers: Mapping[str, Value], columns: Mapping[str, Column]) -> list[str]:
    values = [(numbers[name], column.digits) for name, column in columns.items()]
    return ["-" if v is None else v if isinstance(v, str) else f"{v:.{digits}f}" for v, digits in values]


def _sure(value: Value, interval: Sequence[float] | None, column: Column, sign: str = "") -> str:
    """A mean and its interval in brackets."""
    if interval is None or not isinstance(value, float | int):
        return "-" if value is None else str(value) if isinstance(value, str) else f"{value:{sign}.{column.digits}f}"
    low, high = interval
    return f"{value:{sign}.{column.digits}f} [{low:{sign}.{column.digits}f}, {high:{sign}.{column.digits}f}]"


def _apart(found: Mapping[str, Sequence[float] | None], columns: Mapping[str, Column]) -> list[str]:
    """Differences with their intervals; "-" where there is none."""
    cells = []
    for name, column in columns.items():
        apart = found.get(name)
        cells.append("-" if apart is None else _sure(apart[0], apart[1:], column, "+"))
    return cells


def _gain(value: Value, column: Column) -> str:
    formats = {"difference": f"{{:+.{column.digits}f}}", "ratio": "x {:.2f}", "share": "{:+.0%} of the rest"}
    return formats[column.gain].format(value) if isinstance(value, float | int) and column.gain else "-"
