"""Pictures side by side, with labels: one in a row is a strip, several rows are a grid or a contact sheet."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont

from sdic.errors import ConfigError
from sdic.utils.text import printable

GAP, TEXT = 4, 18
BACKGROUND, INK, EMPTY = (255, 255, 255), (40, 40, 40), (232, 232, 232)
LEAST, HIGHEST = 128, 512  # height of a picture
UNREADABLE = (OSError, SyntaxError, ValueError)
Cell: TypeAlias = Image.Image | Path
"""A picture, or a file of ours that is opened when its turn comes."""


def strip(pictures: Sequence[Cell], labels: Sequence[str] = (), name: str = "") -> Image.Image:
    """Pictures in a row, each with its label above, and a name below. ConfigError for none, or labels of another
    number. They are shown at the size of the first, at least 128 px and at most 512 px high."""
    return grid([pictures], labels, [name])


def grid(rows: Sequence[Sequence[Cell]], columns: Sequence[str] = (), names: Sequence[str] = ()) -> Image.Image:
    """Rows of equal length, a label above each column and a name below each row; else as `strip`."""
    columns, names = columns or [""] * len(rows[0]) if rows else (), names or [""] * len(rows)
    if not rows or not rows[0] or any(len(row) != len(columns) for row in rows) or len(names) != len(rows):
        lengths = [len(row) for row in rows]
        raise ConfigError(f"rows of {lengths} pictures do not go with {len(columns)} and {len(names)} labels")
    return draw(rows, columns, names, cell_size([cell for row in rows for cell in row], HIGHEST))


def cell_size(cells: Sequence[Cell], highest: int) -> tuple[int, int]:
    """(height, width) of every picture: as the first that can be read, within limits."""
    for cell in cells:
        try:
            picture = cell if isinstance(cell, Image.Image) else Image.open(cell)
        except UNREADABLE:
            continue
        height = min(max(picture.height, LEAST), highest)
        width = round(picture.width * height / picture.height)
        if picture is not cell:
            picture.close()
        return height, width
    return LEAST, LEAST


def draw(
    rows: Sequence[Sequence[Cell]], columns: Sequence[str], names: Sequence[str], cell: tuple[int, int]
) -> Image.Image:
    """The page; a picture that cannot be read is a grey field."""
    height, width = cell
    size = (GAP + len(columns) * (width + GAP), TEXT + len(rows) * (height + TEXT + GAP) + GAP)
    page = Image.new("RGB", size, BACKGROUND)
    pen = ImageDraw.Draw(page)
    for column, label in enumerate(columns):
        _text(pen, (GAP + column * (width + GAP), 2), label, width)
    for line, (row, name) in enumerate(zip(rows, names, strict=True)):
        top = TEXT + line * (height + TEXT + GAP)
        _text(pen, (GAP, top + height + 2), name, page.width - 2 * GAP)
        for column, content in enumerate(row):
            left = GAP + column * (width + GAP)
            try:
                page.paste(shown(content, (width, height)), (left, top))
            except UNREADABLE:
                pen.rectangle((left, top, left + width - 1, top + height - 1), fill=EMPTY)
    return page


def shown(cell: Cell, size: tuple[int, int]) -> Image.Image:
    """A picture at a size (width, height); OSError and the like for a file that cannot be read."""
    if isinstance(cell, Image.Image):
        return cell.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    with Image.open(cell) as picture:  # our own file, of a known size
        return picture.convert("RGB").resize(size, Image.Resampling.BICUBIC)


def _text(pen: ImageDraw.ImageDraw, where: tuple[int, int], text: str, width: int) -> None:
    """As much of the text as fits; the built-in font knows ASCII only."""
    font = ImageFont.load_default(12)
    plain = unicodedata.normalize("NFKD", printable(text))
    plain = "".join(mark for mark in plain if not unicodedata.combining(mark))
    text = plain.encode("ascii", "replace").decode()
    while len(text) > 1 and pen.textlength(text, font=font) > width:
        text = text[:-1]
    pen.text(where, text, fill=INK, font=font)
