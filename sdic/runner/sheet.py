"""The contact sheet: one row per photo - photo, first reconstruction, inversion, edits - with labels."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sdic.runner.records import FOLDER, writing
from sdic.utils.files import write_atomic
from sdic.utils.images import write_png
from sdic.utils.text import printable

GAP, TEXT = 4, 18
BACKGROUND, INK, EMPTY = (255, 255, 255), (40, 40, 40), (232, 232, 232)
LEAST, LARGEST = 128, 256  # height of a picture
MAX_WIDTH = 16_000
UNREADABLE = (OSError, SyntaxError, ValueError)


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
    cell = _cell(out, rows)
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


def _cell(out: Path, rows: Sequence[Row]) -> tuple[int, int]:
    """(height, width) of every picture: as the first photo was looked at, within limits."""
    for file in (file for row in rows for file in row.cells):
        with contextlib.suppress(*UNREADABLE), Image.open(out / file) as picture:
            height = min(max(picture.height, LEAST), LARGEST)
            return height, round(picture.width * height / picture.height)
    return LEAST, LEAST


def _page(out: Path, name: str, labels: Sequence[str], rows: Sequence[Row], cell: tuple[int, int]) -> None:
    content = [[row.name, [[file, _time(out / file)] for file in row.cells]] for row in rows]
    state = hashlib.sha256(json.dumps([labels, cell, content]).encode()).hexdigest()
    mark = out / FOLDER / f"{name}.state"
    with contextlib.suppress(OSError):
        if mark.read_text() == f"{state} {_time(out / name)}":
            return
    with writing(out / name):
        write_png(out / name, _draw(out, labels, rows, cell))
        write_atomic(mark, f"{state} {_time(out / name)}")


def _draw(out: Path, labels: Sequence[str], rows: Sequence[Row], cell: tuple[int, int]) -> Image.Image:
    height, width = cell
    size = (GAP + len(labels) * (width + GAP), TEXT + len(rows) * (height + TEXT + GAP) + GAP)
    page = Image.new("RGB", size, BACKGROUND)
    draw = ImageDraw.Draw(page)
    for column, label in enumerate(labels):
        _text(draw, (GAP + column * (width + GAP), 2), label, width)
    for line, row in enumerate(rows):
        top = TEXT + line * (height + TEXT + GAP)
        _text(draw, (GAP, top + height + 2), row.name, page.width - 2 * GAP)
        for column, file in enumerate(row.cells):
            left = GAP + column * (width + GAP)
            try:
                with Image.open(out / file) as picture:  # our own file, of a known size
                    scaled = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
                page.paste(scaled, (left, top))
            except UNREADABLE:
                draw.rectangle((left, top, left + width - 1, top + height - 1), fill=EMPTY)
    return page


def _text(draw: ImageDraw.ImageDraw, where: tuple[int, int], text: str, width: int) -> None:
    """As much of the text as fits; the built-in font knows ASCII only."""
    font = ImageFont.load_default(12)
    plain = unicodedata.normalize("NFKD", printable(text))
    plain = "".join(mark for mark in plain if not unicodedata.combining(mark))
    text = plain.encode("ascii", "replace").decode()
    while len(text) > 1 and draw.textlength(text, font=font) > width:
        text = text[:-1]
    draw.text(where, text, fill=INK, font=font)


def _time(path: Path) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
