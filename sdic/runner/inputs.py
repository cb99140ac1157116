"""What a run works on: photos and saved inversions, in a fixed order, each with an output name of its own."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sdic.errors import SdicError
from sdic.utils.images import SUFFIXES, looks_like_picture
from sdic.zoo import examples_meant

INVERSION = ".safetensors"


@dataclass(frozen=True)
class Item:
    """One input. name: relative to its folder, for people. stem: the output's name without its ending, unique in a run.

    problem: why it cannot even be tried. ignored: not meant as a photo at all. notes: what its owner should know.
    """

    path: Path
    name: str
    stem: str
    problem: str | None = None
    ignored: bool = False
    notes: tuple[str, ...] = ()

    @property
    def is_inversion(self) -> bool:
        """A saved inversion rather than a photo."""
        return self.path.suffix.lower() == INVERSION


def collect(inputs: Sequence[str], out: Path, *, inversions: bool) -> list[Item]:
    """Everything below the inputs, sorted by name; folders are searched through, hidden names and `out` left aside.

    inversions: whether saved inversions count as inputs. Links are followed, but no folder is entered twice. With
    several folders, names begin with the folder's own. SdicError for an input that does not exist.
    """
    folders = [Path(name) for name in _resolved(inputs) if Path(name).is_dir()]
    items: list[Item] = []
    for name in _resolved(inputs):
        path = Path(name)
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise SdicError(f"{path.absolute()} is both input and --out; write to {path / 'out'}, or elsewhere")
            prefix = path.resolve().name if len(folders) > 1 else ""
            items += _search(path, prefix, out, inversions)
        else:
            items.append(_item(path, path.name, inversions, named=True))
    unique = {item.path.absolute(): item for item in items}
    return distinct(sorted(unique.values(), key=lambda item: (item.name, str(item.path))))


def _resolved(inputs: Sequence[str]) -> list[str]:
    """The inputs, with the word `examples` standing for the pictures that come with the repository."""
    found = []
    for name in inputs:
        name = str(examples_meant(name) or name)
        if not os.path.lexists(name):
            raise SdicError(f"{Path(name).absolute()}: no such file or folder")
        found.append(name)
    return found


def _search(root: Path, prefix: str, out: Path, inversions: bool) -> list[Item]:
    items: list[Item] = []
    seen = set()
    own = out.resolve()

    def failed(error: OSError) -> None:
        path = Path(error.filename)
        name = (prefix / path.relative_to(root)).as_posix() if path != root else path.name
        items.append(Item(path, name, name, f"folder cannot be read ({error.strerror})"))

    for folder, folders, files in os.walk(root, onerror=failed, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen or Path(here) == own:  # a link in a circle; our own output
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                path = Path(folder, name)
                items.append(_item(path, (prefix / path.relative_to(root)).as_posix(), inversions))
    return items


def _item(path: Path, name: str, inversions: bool, named: bool = False) -> Item:
    suffix = path.suffix.lower()
    stem = name[: len(name) - len(path.suffix)] if suffix in SUFFIXES or suffix == INVERSION else name
    if suffix == INVERSION and inversions:
        return Item(path, name, stem)
    if not named and not looks_like_picture(path):  # lists, landmarks, licences: every data set has such files
        return Item(path, name, stem, "not a photo, by its name and its content", ignored=True)
    return Item(path, name, stem)


def distinct(items: list[Item]) -> list[Item]:
    """Give items whose outputs would overwrite each other, on any file system, names of their own."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        if not item.ignored:
            groups.setdefault(_folded(item.stem), []).append(item)
    taken = {key for key, group in groups.items() if len(group) == 1}
    result = []
    for item in items:
        if item.ignored or len(groups[_folded(item.stem)]) == 1:
            result.append(item)
            continue
        others = ", ".join(other.name for other in groups[_folded(item.stem)] if other is not item)
        stem, number = item.name, 1
        while _folded(stem) in taken:
            number += 1
            stem = f"{item.name}-{number}"
        taken.add(_folded(stem))
        result.append(replace(item, stem=stem, notes=(f"named {stem}.png, to tell it from {others}",)))
    return result


def _folded(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
