"""What a run works on: photos and saved inversions, in a fixed order, each with an output name of its own."""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from PIL import Image

from sdic.data.folder import ZipSource
from sdic.errors import SdicError
from sdic.utils.decoding import byte_limit
from sdic.utils.files import sha256_of, walk_files
from sdic.utils.images import read_picture, what_is
from sdic.utils.kinds import SUFFIXES, Kind
from sdic.zoo import examples_meant

INVERSION, ZIP = ".safetensors", ".zip"
INVERSION_BYTES = 1 << 30
"""No inversion is larger (at 1024 px one has some 25 MB)."""


@dataclass(frozen=True)
class Item:
    """One input. name: relative to its folder, for people. stem: the output's name without its ending, unique in a run.

    problem: why it cannot even be tried. ignored: not meant as a photo at all. notes: what its owner should know.
    archive, member: of a photo in a zip, whose path is then `path`.
    """

    path: Path
    name: str
    stem: str
    problem: str | None = None
    ignored: bool = False
    notes: tuple[str, ...] = ()
    archive: ZipSource | None = field(default=None, compare=False, repr=False)
    member: str = ""

    @property
    def is_inversion(self) -> bool:
        """A saved inversion rather than a photo."""
        return self.path.suffix.lower() == INVERSION

    def digest(self, max_pixels: int) -> str:
        """Hex sha256 of the input's bytes. OSError or SdicError for what cannot be read, or has more bytes than such an
        input needs."""
        if self.archive is not None:
            return hashlib.sha256(self.archive.data(self.member)).hexdigest()
        return sha256_of(self.path, INVERSION_BYTES if self.is_inversion else byte_limit(max_pixels))

    def picture(self, max_pixels: int) -> Image.Image:
        """The photo, RGB; ImageError as from `read_picture`."""
        return read_picture(
            self.path if self.archive is None else io.BytesIO(self.archive.data(self.member)), max_pixels
        )


def collect(inputs: Sequence[str], out: Path, *, inversions: bool) -> list[Item]:
    """Everything below the inputs, sorted by name; folders and zips are searched through, hidden names and `out` left
    aside.

    inversions: whether saved inversions count as inputs; those in zips do not. Links are followed, but no folder is
    entered twice. With several folders or zips, names begin with the folder's own. SdicError for an input that does not
    exist, and for a zip that cannot be read.
    """
    folders = [Path(name) for name in _resolved(inputs) if Path(name).is_dir() or _is_zip(Path(name))]
    items: list[Item] = []
    for name in _resolved(inputs):
        path = Path(name)
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise SdicError(f"{path.absolute()} is both input and --out; write to {path / 'out'}, or elsewhere")
            prefix = path.resolve().name if len(folders) > 1 else ""
            for file, inner, problem in walk_files(path, skip=out):
                inner = (prefix / Path(inner)).as_posix()
                items.append(Item(file, inner, inner, problem) if problem else _item(file, inner, inversions))
        elif _is_zip(path):
            items += _unpacked(path, path.stem if len(folders) > 1 else "")
        else:
            items.append(_item(path, path.name, inversions, named=True))
    unique = {(item.path.absolute(), item.member): item for item in items}
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


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ZIP and path.is_file()


def _unpacked(path: Path, prefix: str) -> list[Item]:
    """What is in a zip, as if it were a folder."""
    archive = ZipSource(path, packed=True)
    items = []
    for member in (*archive.names, *archive.unread, *archive.other):
        name = (PurePosixPath(prefix) / member.lstrip("/")).as_posix()
        kind = Kind(member in archive.names, archive.unread.get(member, ""))
        item = _of_kind(path, name, kind)
        if item.problem is None:
            item = replace(item, problem=archive.problems.get(member))
        items.append(replace(item, archive=archive, member=member))
    return items


def _item(path: Path, name: str, inversions: bool, named: bool = False) -> Item:
    if path.suffix.lower() == INVERSION and inversions:
        return Item(path, name, name.removesuffix(path.suffix))
    kind = what_is(path)
    return _of_kind(path, name, Kind(picture=True) if named and not kind.unread else kind)


def _of_kind(path: Path, name: str, kind: Kind) -> Item:
    """A photo; a failure, of a picture or video that sdic does not read; or something else, left aside."""
    suffix = PurePosixPath(name).suffix
    stem = name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name
    if kind.unread:
        return Item(path, name, stem, kind.unread)
    if not kind.picture:  # lists, landmarks, licences: every data set has such files
        return Item(path, name, stem, "not a photo, by its name and its content", ignored=True)
    return Item(path, name, stem)


def distinct(items: list[Item]) -> list[Item]:
    """Give items whose outputs would overwrite each other, on any file system, names of their own."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        if item.problem is None:
            groups.setdefault(_folded(item.stem), []).append(item)
    taken = {key for key, group in groups.items() if len(group) == 1}
    result = []
    for item in items:
        if item.problem is not None or len(groups[_folded(item.stem)]) == 1:
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
