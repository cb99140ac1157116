"""Pictures in a folder tree or in a zip, by name, in sorted order, and lists of names.

What files of strangers may raise here is closed: ConfigError for a folder, a zip or a list as a whole, ImageError for
one picture. Nothing else leaves, whatever the bytes are.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image

from sdic.errors import ConfigError, ImageError
from sdic.utils.decoding import byte_limit
from sdic.utils.files import walk_files
from sdic.utils.images import PIXEL_LIMIT, check_picture, read_picture, what_is
from sdic.utils.kinds import HEAD, SUFFIXES
from sdic.utils.text import read_small_text, reason

LOOKED_FOR = "files ending in " + ", ".join(sorted(SUFFIXES))
LIST_LIMIT = 64 << 20
"""Bytes of a list of names; a million names are 20 MB."""

MOST_PACKING = 1032
"""Deflate cannot make more of a byte than this."""


class PictureSource(Protocol):
    """Something that holds pictures by name. `names` is sorted; `read` raises ImageError.

    unread: name -> what it is, of files that look like pictures or videos but cannot be read by sdic at all.
    """

    names: list[str]
    unread: dict[str, str]

    def read(self, name: str) -> Image.Image:
        """The picture, RGB."""

    def check(self, name: str) -> str:
        """What is wrong with a picture as far as its header tells, or an empty string."""


class FolderSource:
    """Every picture below a folder, by the rules of `walk_files` and `what_is`, as the folder runner finds them; names
    are paths relative to it, with forward slashes. ConfigError if there are none."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if not self.path.is_dir():
            what = "a file" if self.path.is_file() else "nothing"
            raise ConfigError(f"{self.path.absolute()}: no such folder of pictures (found {what}); set data.path")
        self.names: list[str] = []
        self.unread: dict[str, str] = {}
        for file, name, problem in walk_files(self.path):
            kind = what_is(file)
            if problem or kind.unread:
                self.unread[name] = problem or kind.unread
            elif kind.picture:
                self.names.append(name)
        self.names.sort()
        _some(self.path, "no pictures there or in the folders below", self.names, self.unread)

    def read(self, name: str) -> Image.Image:
        return read_picture(self.path / name)

    def check(self, name: str) -> str:
        try:
            check_picture(self.path / name)
        except ImageError as error:
            return str(error).removeprefix(f"{self.path / name}: ")
        return ""


class ZipSource:
    """Every picture in a zip, by the rules for folders. Each process opens the file for itself, so loader workers do
    not share a file position.

    packed: whether compressed entries are taken; without it ConfigError tells how to store them, so that any of them is
    read in one seek. problems: name -> why an entry is not even tried: encrypted, of false size, a name that leads out
    of the folder it is unpacked to. ConfigError for what is not a readable zip, and where there are no pictures.
    """

    def __init__(self, path: str | os.PathLike[str], packed: bool = False):
        self.path = Path(path)
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        if not self.path.is_file():
            raise ConfigError(f"{self.path.absolute()}: no such zip of pictures; set data.path")
        try:
            entries = self._zip().infolist()
        except Exception as error:  # the reader of damaged zips raises what it likes
            raise ConfigError(f"{self.path}: not a readable zip ({reason(error)})") from error
        size = self.path.stat().st_size
        self.names: list[str] = []
        self.unread: dict[str, str] = {}
        self.other: list[str] = []
        self.problems: dict[str, str] = {}
        self.entries: dict[str, zipfile.ZipInfo] = {}
        for entry in entries:
            if not entry.filename:
                self.unread["(no name)"] = "damaged: an entry of the zip without a name"
            elif not entry.is_dir() and not _is_hidden(entry.filename):
                self._add(entry, size)
        self.names.sort()
        compressed = [name for name in self.names if self.entries[name].compress_type != zipfile.ZIP_STORED]
        if compressed and not packed:
            raise ConfigError(
                f"{self.path}: {len(compressed)} pictures are compressed (such as {_listed(compressed[:1])}); make the "
                "zip again with: zip -0 -r NAME.zip FOLDER"
            )
        _some(self.path, "no pictures in this zip", self.names, self.unread)

    def _add(self, entry: zipfile.ZipInfo, size: int) -> None:
        name = entry.filename
        if name in self.entries:
            self.problems[name] = "the zip holds two files of this name"
            return
        self.entries[name] = entry
        problem = _entry_problem(entry, size)
        if problem:
            self.problems[name] = problem
        named = Path(name).suffix.lower() in SUFFIXES
        kind = what_is(name, io.BytesIO(b"" if problem or named else self._head(entry)))
        if kind.unread:
            self.unread[name] = kind.unread
        elif kind.picture:
            self.names.append(name)
        else:
            self.other.append(name)

    def _head(self, entry: zipfile.ZipInfo) -> bytes:
        try:
            with self._zip().open(entry) as handle:
                return handle.read(HEAD)
        except Exception:  # its turn to be reported is when it is read
            return b""

    def _zip(self) -> zipfile.ZipFile:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), zipfile.ZipFile(self.path))
        return self._opened[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def data(self, name: str) -> bytes:
        """The bytes of an entry. ImageError for what cannot be unpacked, without the zip's name."""
        if name in self.problems:
            raise ImageError(self.problems[name])
        try:
            return self._zip().read(self.entries[name])
        except Exception as error:  # damaged entries raise a dozen kinds of errors
            raise ImageError(f"cannot be unpacked ({reason(error)})") from error

    def read(self, name: str) -> Image.Image:
        try:
            return read_picture(io.BytesIO(self.data(name)))
        except ImageError as error:
            raise ImageError(f"{self.path}: {name}: {error}") from error

    def check(self, name: str) -> str:
        try:
            check_picture(io.BytesIO(self.data(name)))
        except ImageError as error:
            return str(error)
        return ""


def _is_hidden(name: str) -> bool:
    """As hidden files of a folder; `__MACOSX` holds what macOS adds of its own."""
    parts = [part for part in _parts(name) if part not in (".", "..")]
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _parts(name: str) -> list[str]:
    return name.replace("\\", "/").split("/")


def _entry_problem(entry: zipfile.ZipInfo, size: int) -> str:
    """Why an entry of a zip of `size` bytes is not to be unpacked, from its header alone, or an empty string."""
    parts = _parts(entry.filename)
    if ".." in parts or not parts[0] or ":" in parts[0]:
        return "its name leads out of the folder"
    if entry.flag_bits & 0x1:
        return "encrypted; unzip it with its password and use the folder"
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {entry.compress_type}; make the zip again with: zip -0 -r NAME.zip FOLDER"
    stored = entry.compress_type == zipfile.ZIP_STORED
    most = entry.compress_size if stored else MOST_PACKING * entry.compress_size + 64
    if entry.header_offset + entry.compress_size > size or entry.file_size > most:
        return f"damaged: the zip says that it has {entry.file_size} bytes, which it cannot"
    if entry.file_size > byte_limit(PIXEL_LIMIT):
        return f"{entry.file_size >> 20} MB are more than any picture needs"
    return ""


def _some(path: Path, none: str, names: Sequence[str], unread: dict[str, str]) -> None:
    """ConfigError if there are no names."""
    if not names:
        first = next(iter(sorted(unread.items())), None)
        found = "" if first is None else f"; found {len(unread)} others, such as {_listed(first[:1])} ({first[1]})"
        raise ConfigError(f"{path.absolute()}: {none}; looked for {LOOKED_FOR}{found}")


def _listed(names: Iterable[str]) -> str:
    """Names in one line, however they are."""
    return ", ".join(ascii(name)[1:-1] if not name.isprintable() else name[:200] for name in names)


def choose(names: Sequence[str], wanted: Sequence[str], what: str, unread: Iterable[str] = ()) -> list[str]:
    """The names in `names` that a list asks for, by relative path, file name, or file name without suffix, sorted.

    unread: further names, which are meant only where none of `names` is. ConfigError says how many of the list are not
    there, and shows some.
    """
    known = _by_key(names)
    for key, found in _by_key(unread).items():
        known.setdefault(key, found)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ConfigError(
            f"{what}: {len(missing)} of {len(wanted)} names are not in the data, such as {_listed(missing[:3])}; "
            f"the data has names like {_listed(list(names)[:3])}"
        )
    twice = [name for name in wanted if len(known[name]) > 1]
    if twice:
        found = known[twice[0]]
        raise ConfigError(f"{what}: {_listed(twice[:1])} means {len(found)} pictures, such as {_listed(found[:2])}")
    return sorted({known[name][0] for name in wanted})


def _by_key(names: Iterable[str]) -> dict[str, list[str]]:
    known: dict[str, list[str]] = {}
    for name in names:
        for key in {name, Path(name).name, Path(name).stem}:
            known.setdefault(key, []).append(name)
    return known


def read_name_list(path: str | os.PathLike[str]) -> list[str]:
    """One name a line, UTF-8; empty lines and lines that begin with # are left out. ConfigError and nothing else for
    what is no such list: not a regular file, too long, not text, no names."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{file.absolute()}: no such list of picture names")
    if file.stat().st_size > LIST_LIMIT:
        raise ConfigError(f"{file.absolute()}: more than {LIST_LIMIT >> 20} MB, which no list of names needs")
    text = read_small_text(file, LIST_LIMIT, ConfigError)
    lines = (line.strip() for line in text.split("\n"))  # `splitlines` would part names at rare marks too
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise ConfigError(f"{file.absolute()}: this list names no pictures")
    return names
