"""Pictures in a folder tree or in an uncompressed zip, by name, in sorted order."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from PIL import Image, UnidentifiedImageError

from sdic.errors import ConfigError, ImageError
from sdic.utils.images import SUFFIXES, read_picture

LOOKED_FOR = "files ending in " + ", ".join(sorted(SUFFIXES))


class PictureSource(Protocol):
    """Something that holds pictures by name. `names` is sorted; `read` raises ImageError."""

    names: list[str]

    def read(self, name: str) -> Image.Image:
        """The picture, RGB."""

    def check(self, name: str) -> str:
        """What is wrong with a picture as far as its header tells, or an empty string."""


class FolderSource:
    """Every picture below a folder; names are paths relative to it, with forward slashes."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        if not self.path.is_dir():
            what = "a file" if self.path.is_file() else "nothing"
            raise ConfigError(f"{self.path.absolute()}: no such folder of pictures (found {what}); set data.path")
        found = (p for p in self.path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        self.names = sorted(p.relative_to(self.path).as_posix() for p in found)
        if not self.names:
            raise ConfigError(
                f"{self.path.absolute()}: no pictures there or in the folders below; looked for {LOOKED_FOR}"
            )

    def read(self, name: str) -> Image.Image:
        return read_picture(self.path / name)

    def check(self, name: str) -> str:
        return _header_problem(self.path / name)


class ZipSource:
    """Every picture in a zip whose entries are stored, not compressed, so that any of them is read in one seek.

    Each process opens the file for itself, so loader workers do not share a file position.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self._opened: tuple[int, zipfile.ZipFile] | None = None
        if not self.path.is_file():
            raise ConfigError(f"{self.path.absolute()}: no such zip of pictures; set data.path")
        try:
            entries = self._zip().infolist()
        except zipfile.BadZipFile as error:
            raise ConfigError(f"{self.path}: not a readable zip ({error})") from error
        pictures = [entry for entry in entries if Path(entry.filename).suffix.lower() in SUFFIXES]
        packed = [entry.filename for entry in pictures if entry.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise ConfigError(
                f"{self.path}: {len(packed)} pictures are compressed (such as {packed[0]}); make the zip again with: "
                "zip -0 -r NAME.zip FOLDER"
            )
        self.names = sorted(entry.filename for entry in pictures)
        if not self.names:
            raise ConfigError(f"{self.path.absolute()}: no pictures in this zip; looked for {LOOKED_FOR}")

    def _zip(self) -> zipfile.ZipFile:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), zipfile.ZipFile(self.path))
        return self._opened[1]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def read(self, name: str) -> Image.Image:
        try:
            return read_picture(io.BytesIO(self._zip().read(name)))
        except (ImageError, zipfile.BadZipFile, OSError) as error:
            raise ImageError(f"{self.path}: {name}: {error}") from error

    def check(self, name: str) -> str:
        try:
            return _header_problem(io.BytesIO(self._zip().read(name)))
        except (zipfile.BadZipFile, OSError) as error:
            return str(error)


def _header_problem(file: Path | io.BytesIO) -> str:
    try:
        with Image.open(file) as picture:
            width, height = picture.size
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error).split(" <_io")[0] or type(error).__name__
    return "" if width > 0 and height > 0 else f"size {width}x{height}"


def choose(names: Sequence[str], wanted: Sequence[str], what: str) -> list[str]:
    """The names in `names` that a list asks for, by relative path, file name, or file name without suffix, sorted.

    ConfigError says how many of the list are not there, and shows some.
    """
    known: dict[str, list[str]] = {}
    for name in names:
        for key in {name, Path(name).name, Path(name).stem}:
            known.setdefault(key, []).append(name)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ConfigError(
            f"{what}: {len(missing)} of {len(wanted)} names are not in the data, such as {', '.join(missing[:3])}; "
            f"the data has names like {', '.join(list(names)[:3])}"
        )
    twice = [name for name in wanted if len(known[name]) > 1]
    if twice:
        raise ConfigError(f"{what}: {twice[0]} means {len(known[twice[0]])} pictures, such as {known[twice[0]][:2]}")
    return sorted({known[name][0] for name in wanted})


def read_name_list(path: str | os.PathLike[str]) -> list[str]:
    """One name a line; empty lines and lines that begin with # are left out."""
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"{file.absolute()}: no such list of picture names")
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise ConfigError(f"{file.absolute()}: this list names no pictures")
    return names
