"""What a run works on: photos and saved inversions, in a fixed order, each with an output name of its own."""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from PIL import Image
from torch import Tensor

from sdic.data.folder import ZipSource
from sdic.errors import ImageError, SdicError
from sdic.types import Inversion
from sdic.utils.decoding import byte_limit
from sdic.utils.files import sha256_of, walk_files
from sdic.utils.images import read_picture, what_is
from sdic.utils.kinds import SUFFIXES, Kind
from sdic.zoo import examples_meant

INVERSION, ZIP = ".safetensors", ".zip"


Content: TypeAlias = Image.Image | Inversion | Tensor
"""What an item holds: a photo, a saved inversion, or a code [L, D]."""


@dataclass(frozen=True)
class Item:
    """One input, a photo. name: relative to its folder, for people. stem: the output's name without its ending, unique
    in a run.

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

    def digest(self, max_pixels: int) -> str:
        """Hex sha256 of the input's bytes. OSError or SdicError for what cannot be read, or has more bytes than such an
        input needs."""
        if self.archive is not None:
            return hashlib.sha256(self.archive.data(self.member)).hexdigest()
        if self.path.is_symlink() and not self.path.exists():
            raise ImageError("a broken link")
        return sha256_of(self.path, self.most_bytes(max_pixels))

    def most_bytes(self, max_pixels: int) -> int:
        """More are not looked at."""
        return byte_limit(max_pixels)

    def content(self, max_pixels: int) -> Content:
        """The photo, RGB; ImageError as from `read_picture`."""
        return read_picture(
            self.path if self.archive is None else io.BytesIO(self.archive.data(self.member)), max_pixels
        )


class InversionItem(Item):
    """A saved inversion."""

    def most_bytes(self, max_pixels: int) -> int:
        """At 1024 px one has some 25 MB."""
        return 1 << 30

    def content(self, max_pixels: int) -> Content:
        """The inversion; CheckpointError as from `Inversion.load`."""
        return Inversion.load(self.path)


def collect(inputs: Sequence[str], out: Path, *, inversions: bool) -> list[Item]:
    """Everything below the inputs, sorted by name; folders and zips are searched through, hidden names and `out` left
    aside.

    inversions: whether saved inversions count as inputs; those in zips do not. Links are followed, but no folder is
    entered twice. With several folders or zips, names begin with the folder's own. SdicError for an input that does not
    exist, and for a zip that cannot be read.
    """
    paths = [_existing(word) for word in inputs]
    several = sum(path.is_dir() or _is_zip(path) for path in paths) > 1
    items: list[Item] = []
    for path in paths:
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise SdicError(f"{path.absolute()} is both input and --out; write to {path / 'out'}, or elsewhere")
            prefix = path.resolve().name if several else ""
            for file, inner, problem in walk_files(path, skip=out):
                inner = (prefix / Path(inner)).as_posix()
                items.append(Item(file, inner, inner, problem) if problem else _item(file, inner, inversions))
        elif _is_zip(path):
            items += _unpacked(path, path.stem if several else "")
        else:
            items.append(_item(path, path.name, inversions, named=True))
    unique = {(item.path.absolute(), item.member): item for item in items}
    return distinct(sorted(unique.values(), key=lambda item: (item.name, str(item.path))))


def _existing(word: str) -> Path:
    """The path of an input; the word `examples` stands for the pictures that come with the repository."""
    path = examples_meant(word) or Path(word)
    if not os.path.lexists(path):
        raise SdicError(f"{path.absolute()}: no such file or folder")
    return path


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ZIP and path.is_file()


def _unpacked(path: Path, prefix: str) -> list[Item]:
    """What is in a zip, as if it were a folder."""
    archive = ZipSource(path, packed=True)
    items = []
    for member in (*archive.names, *archive.unread, *archive.other):
        name = (PurePosixPath(prefix) / member.lstrip("/")).as_posix()
        item = _of_kind(path, name, Kind(member in archive.names, archive.unread.get(member, "")))
        problem = item.problem or archive.problems.get(member)
        items.append(replace(item, problem=problem, archive=archive, member=member))
    return items


def _item(path: Path, name: str, inversions: bool, named: bool = False) -> Item:
    if path.suffix.lower() == INVERSION and inversions:
        return InversionItem(path, name, name.removesuffix(path.suffix))
    kind = what_is(path)
    return _of_kind(path, name, Kind(picture=True) if named and not kind.unread else kind)


def _of_kind(path: Path, name: str, kind: Kind) -> Item:
    """A photo; a failure, of a picture or video that sdic does not read; or something else, left aside."""
    suffix = PurePosixPath(name).suffix
    stem = name.removesuffix(suffix) if suffix.lower() in SUFFIXES else name
    if kind.picture or kind.unread:
        return Item(path, name, stem, kind.unread or None)
    # lists, landmarks, licences: every data set has such files
    return Item(path, name, stem, "not a photo, by its name and its content", ignored=True)


def distinct(items: list[Item]) -> list[Item]:
    """Give items whose outputs would overwrite each other, on any file system, names of their own."""
    groups: dict[str, list[Item]] = {}
    for item in items:
        if item.problem is None:
            groups.setdefault(_folded(item.stem), []).append(item)
    taken = {key for key, group in groups.items() if len(group) == 1}
    result = []
    for item in items:
        group = groups.get(_folded(item.stem), []) if item.problem is None else []
        if len(group) > 1:
            stem, number = item.name, 1
            while _folded(stem) in taken:
                number += 1
                stem = f"{item.name}-{number}"
            taken.add(_folded(stem))
            others = ", ".join(other.name for other in group if other is not item)
            item = replace(item, stem=stem, notes=(f"named {stem}.png, to tell it from {others}",))
        result.append(item)
    return result


def _folded(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
