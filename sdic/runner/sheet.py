"""The contact sheet: one row per photo - photo, first reconstruction, inversion, edits - with labels."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdic.look.grid import GAP, cell_size, draw
from sdic.runner.records import FOLDER, writing
from sdic.utils.files import write_atomic
from sdic.utils.images import write_png

LARGEST = 256  # height of a picture
MAX_WIDTH = 16_000


@dataclass(frozen=True)
class Row:
    """name: of the photo. cells: one file per column, relative to OUT."""

    name: str
    cells: tuple[str, ...]


def make_sheets(
    out: Path, name: str, labels: Sequence[str], rows: Sequence[Row], per_page: int, pages: int
) -> list[str]:
    """Write `name`.png, `name`-2.png, ... and return their names; pages that are up to date are left alone.

    A column without any file (e4e has no first reconstruction) is left out; a single missing picture is a grey field.
    Pages of an earlier, longer sheet are removed.
    """
    kept = [index for index in range(len(labels)) if any((out / row.cells[index]).is_file() for row in rows)]
    cell = cell_size([out / file for row in rows for file in row.cells], LARGEST)
    kept = kept[: max(1, MAX_WIDTH // (cell[1] + GAP))]
    rows = [Row(row.name, tuple(row.cells[index] for index in kept)) for row in rows[: per_page * pages]]
    names = []
    for page, first in enumerate(range(0, len(rows), per_page), 1):
        names.append(f"{name}.png" if page == 1 else f"{name}-{page}.png")
        _page(out, names[-1], [labels[index] for index in kept], rows[first : first + per_page], cell)
    number = max(2, len(names) + 1)
    while (old := out / f"{name}-{number}.png").is_file():
        with contextlib.suppress(OSError):
            old.unlink()
        number += 1
    return names


def unchanged(out: Path, name: str, content: object) -> tuple[bool, str]:
    """Whether a picture of ours below OUT is still the one that was made of this content, and the content's mark."""
    state = hashlib.sha256(json.dumps(content).encode()).hexdigest()
    with contextlib.suppress(OSError):
        return (out / FOLDER / f"{name}.state").read_text() == f"{state} {time_of(out / name)}", state
    return False, state


def note(out: Path, name: str, state: str) -> None:
    """Remember what a picture was made of."""
    write_atomic(out / FOLDER / f"{name}.state", f"{state} {time_of(out / name)}")


def _page(out: Path, name: str, labels: Sequence[str], rows: Sequence[Row], cell: tuple[int, int]) -> None:
    content = [[row.name, [[file, time_of(out / file)] for file in row.cells]] for row in rows]
    same, state = unchanged(out, name, [labels, cell, content])
    if same:
        return
    with writing(out / name):
        cells = [[out / file for file in row.cells] for row in rows]
        write_png(out / name, draw(cells, labels, [row.name for row in rows], cell))
        note(out, name, state)


def time_of(path: Path) -> int:
    """When a file was written, 0 for one that is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
