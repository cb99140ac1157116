"""One HTML file in which a run can be looked at: before and after, and every step of a sweep.

The file is all there is: pictures are in it, and it asks for nothing from anywhere, which its content security policy
makes sure of. Without scripts the pictures stand side by side. Names are those of strangers' files: every text is
escaped.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO

from sdic.look.grid import HIGHEST, UNREADABLE, Cell, cell_size, shown
from sdic.utils.files import atomic_file
from sdic.utils.text import printable

QUALITY = 88  # of WebP


@dataclass(frozen=True)
class Step:
    """A picture and what it is."""

    label: str
    picture: Cell


@dataclass(frozen=True)
class Series:
    """Pictures to go through one by one, such as a sweep; a single edit is one of one step."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Entry:
    """A photo of the page. before: to compare with, such as the photo and its inversion. facts: a small table."""

    name: str
    before: tuple[Step, ...]
    after: tuple[Series, ...]
    facts: Mapping[str, str] = field(default_factory=dict)


def write_page(
    path: Path, title: str, entries: Iterable[Entry], settings: Mapping[str, object], note: str = ""
) -> None:
    """Write the page, whole or not at all. Entries are taken one by one: memory holds one picture at a time.

    Pictures are at most 512 px high, as WebP. One that cannot be read is left out. settings: a table of its own.
    """
    parts = {name: (files("sdic.look") / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    marks = {name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for name, text in parts.items()}
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{marks['css']}'; script-src 'sha256-{marks['js']}'; "
        "base-uri 'none'; form-action 'none'"
    )
    with atomic_file(path) as handle:
        _say(
            handle,
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{_text(title)}</title>\n<style>{parts['css']}</style>\n</head>\n<body>\n<h1>{_text(title)}</h1>\n",
        )
        _say(handle, f"<p>{_text(note)}</p>\n" if note else "")
        _say(handle, f"<details><summary>Settings</summary>{_table(settings)}</details>\n<main>\n")
        for entry in entries:
            _entry(handle, entry)
        _say(handle, f"</main>\n<script>{parts['js']}</script>\n</body>\n</html>\n")


def _entry(handle: BinaryIO, entry: Entry) -> None:
    _say(handle, f'<section>\n<h2>{_text(entry.name)}</h2>\n<div class="view">\n')
    for step in entry.before:
        _figure(handle, step, "")
    for series in entry.after:
        for step in series.steps:
            _figure(handle, step, series.name)
    _say(handle, f"</div>\n{_table(entry.facts) if entry.facts else ''}</section>\n")


def _figure(handle: BinaryIO, step: Step, series: str) -> None:
    try:
        height, width = cell_size([step.picture], HIGHEST)
        blob = io.BytesIO()
        shown(step.picture, (width, height)).save(blob, "WEBP", quality=QUALITY)
    except UNREADABLE:
        return
    label = _text(step.label)
    side = f'data-series="{_text(series)}"' if series else "data-before"
    _say(handle, f'<figure {side}><img width="{width}" height="{height}" alt="{label}" src="data:image/webp;base64,')
    handle.write(base64.b64encode(blob.getbuffer()))
    _say(handle, f'"><figcaption>{label}</figcaption></figure>\n')


def _table(rows: Mapping[str, object]) -> str:
    cells = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>\n"


def _text(value: object) -> str:
    return html.escape(printable(str(value).encode("utf-8", "backslashreplace").decode()))


def _say(handle: BinaryIO, text: str) -> None:
    handle.write(text.encode())
