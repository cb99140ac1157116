"""Edit lists: a YAML file of edits with names, for any number of photos.

edits:
  older: age=20                                # the words of --edit
  older and glad: age=20,smile=0.5
  glad:                                        # only in a part of the picture
    edit: smile=0.5
    inside: {ellipse: [0.25, 0.6, 0.75, 0.95], feather: 0.03}
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdic.config import yaml_values
from sdic.editing.masks import Region, region_of
from sdic.editing.words import Edit, parse_edits
from sdic.errors import ConfigError, SdicError, did_you_mean
from sdic.utils.text import one_line

TAKEN = ("inversion", "inversions", "latents", "look", "strip")
FILES = (".png", ".json", ".html")
"""Folders of a run, and endings of its files, that no edit may have as its name."""
LONGEST = 100


def read_edits(path: str | os.PathLike[str], domain: str) -> list[Edit]:
    """The edits of a list, in order, their names as labels; a sweep's are named NAME and its words.

    domain: whose direction names are meant. ConfigError says what is wrong with the file, and in which edit.
    """
    path = Path(path)
    content = yaml_values(path)
    entries = content.get("edits") if isinstance(content, dict) else None
    if not isinstance(entries, dict) or not entries or set(content) != {"edits"}:
        other = [str(key) for key in content if key != "edits"] if isinstance(content, dict) else []
        found = f", and holds {one_line(', '.join(other))!r}" if other else ""
        raise ConfigError(f"{path}: must hold edits, each with its name, below the word `edits:`{found}")
    found_edits: list[Edit] = []
    for name, said in entries.items():
        where = f"{path}, edit {one_line(name)!r}"
        try:
            found_edits += _named(_name(name, where), said, path.parent, where, domain)
        except SdicError as error:
            text = str(error)
            raise ConfigError(text if text.startswith(str(path)) else f"{where}: {text}") from error
    return distinct(found_edits, f"{path}: ")


def distinct(edits: Sequence[Edit], where: str = "") -> list[Edit]:
    """The edits, those that are asked for twice once; ConfigError where two have one name on some file system."""
    labels: dict[str, Edit] = {}
    for edit in edits:
        other = labels.setdefault(edit.label.casefold(), edit)
        if other != edit:
            raise ConfigError(
                f"{where}two different edits would be called {other.label!r} and {edit.label!r}; rename one"
            )
    return list(labels.values())


def restricted(edits: Sequence[Edit], path: str) -> list[Edit]:
    """Edits that act inside a mask alone: a picture, or a folder of them with the photos' names; "..., inside NAME"."""
    mask = Path(path)
    region = region_of({"masks" if mask.is_dir() else "mask": path}, Path(), "--mask")
    return [
        edit if edit.region else replace(edit, name=f"{edit.label}, inside {mask.stem}", region=region)
        for edit in edits
    ]


def _named(name: str, said: Any, folder: Path, where: str, domain: str) -> list[Edit]:
    region: Region | None = None
    words = said
    if isinstance(said, Mapping):
        for key in said:
            if key not in ("edit", "inside"):
                raise ConfigError(
                    f"{where}: unknown key {one_line(key)!r}{did_you_mean(str(key), ('edit', 'inside'))}; an edit has "
                    "edit (such as age=3,smile=1) and inside (a region)"
                )
        words = said.get("edit")
        region = region_of(said["inside"], folder, f"{where}, inside") if "inside" in said else None
    if not isinstance(words, str):
        raise ConfigError(f"{where}: an edit is written as for --edit, such as age=3,smile=1; got {one_line(words)}")
    edits = parse_edits([words], domain)
    return [
        replace(edit, name=name if len(edits) == 1 else f"{name}, {edit.label}", region=region, sweep=name)
        for edit in edits
    ]


def _name(name: Any, where: str) -> str:
    """A name that every file system takes as a folder's."""
    text = str(name)
    marks = [mark for mark in text if mark in '/\\:*?"<>|' or not mark.isprintable()]
    taken = text.casefold() in TAKEN or text.casefold().endswith(FILES)
    if marks or taken or text != text.strip(" .") or not 0 < len(text) <= LONGEST:
        raise ConfigError(
            f'{where}: a name becomes a folder: at most {LONGEST} characters, none of / \\ : * ? " < > |, no point or '
            f"space at either end, no ending {', '.join(FILES)}, and not {', '.join(TAKEN)}"
        )
    return text
