"""Find: what a run works on, in a fixed order, each with an output name of its own. Photos in folders and zips, saved
inversions, and codes that other tools or `--save-latents` wrote (`latents.pt`, `codes.npy`).

Shapes: N codes, L latent rows, D style width.
"""

from __future__ import annotations

import hashlib
import io
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from sdic.data.folder import ZipSource
from sdic.editing.directions import read_arrays
from sdic.errors import CheckpointError, ImageError, SdicError
from sdic.types import Inversion
from sdic.utils.decoding import byte_limit
from sdic.utils.files import sha256_of, walk_files
from sdic.utils.images import read_picture, what_is
from sdic.utils.kinds import SUFFIXES, Kind, by_name
from sdic.utils.text import printable
from sdic.utils.video import Video, has_video, read_video
from sdic.zoo import examples_meant

INVERSION, ZIP, CODES = ".safetensors", ".zip", (".pt", ".pth", ".npy", ".npz")
MOST = 1_000_000  # codes in a file
LARGEST = 1 << 20  # numbers in a code; StyleGAN2's largest has 18 x 512

Content: TypeAlias = Image.Image | Inversion | Tensor | Video
"""What an item holds: a photo, a saved inversion, a code [L, D], or a video."""


@dataclass(frozen=True)
class Item:
    """One input, a photo.

    name: relative to its folder, for people.
    stem: the output's name without its ending, unique in a run.
    problem: why it cannot even be tried.
    ignored: not meant as a photo at all.
    notes: what its owner should know.
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

    most_bytes: ClassVar[int] = 0  # 0: as many as such a photo needs

    def digest(self, max_pixels: int) -> str:
        """Hex sha256 of the input's bytes. OSError or SdicError for what cannot be read, or is too large for one."""
        if self.archive is not None:
            return hashlib.sha256(self.archive.data(self.member)).hexdigest()
        if self.path.is_symlink() and not self.path.exists():
            raise ImageError("a broken link")
        return sha256_of(self.path, self.most_bytes or byte_limit(max_pixels))

    def source(self) -> Path | io.BytesIO:
        """Its file, or its bytes of a zip; ImageError for what cannot be unpacked."""
        return self.path if self.archive is None else io.BytesIO(self.archive.data(self.member))

    def content(self, max_pixels: int) -> Content:
        """The photo, RGB; ImageError as from `read_picture`."""
        return read_picture(self.source(), max_pixels)


class VideoItem(Item):
    """A video file, where PyAV is installed."""

    most_bytes = 1 << 40

    def content(self, max_pixels: int) -> Video:
        """What the file says of it; ImageError as from `read_video`."""
        return read_video(self.path)


class InversionItem(Item):
    """A saved inversion."""

    most_bytes = 1 << 30  # at 1024 px one has some 25 MB

    def content(self, max_pixels: int) -> Content:
        """The inversion; CheckpointError as from `Inversion.load`."""
        return Inversion.load(self.path)


@dataclass(frozen=True)
class CodeItem(Item):
    """One code of a file: code [L, D], or [1, D] for the same in every row."""

    code: Tensor = field(default_factory=lambda: torch.empty(0, 0), compare=False)

    def content(self, max_pixels: int) -> Tensor:
        """The code as float32; CheckpointError where it holds values that are not finite."""
        code = self.code.detach().to(torch.float32).contiguous()
        if not torch.isfinite(code).all():
            raise CheckpointError("the code holds values that are not finite")
        return code

    def digest(self, max_pixels: int) -> str:
        """Hex sha256 of the code."""
        code = self.content(max_pixels)
        return hashlib.sha256(f"{list(code.shape)}".encode() + code.numpy().tobytes()).hexdigest()


def find(inputs: Sequence[str], out: Path, *, editing: bool, limit: int = 0) -> list[Item]:
    """Every input in order, saved inversions and codes for editing only; with a limit, up to the last photo that it
    allows. SdicError where there is nothing to do."""
    codes = [word for word in inputs if Path(word).suffix.lower() in CODES and Path(word).is_file()]
    if codes and not editing:
        raise SdicError(f"{codes[0]}: may hold codes, which are edited, not inverted; use: sdic edit")
    others = [word for word in inputs if word not in codes]
    items = collect(others, out, inversions=editing)
    if editing:
        items = _with_codes(items) + [item for word in codes for item in codes_in(Path(word), Path(word).name)]
    items = distinct(items)
    photos = [index for index, item in enumerate(items) if not item.ignored]
    if not photos:
        raise SdicError(f"no photos in {', '.join(inputs)}")
    return items[: photos[limit]] if 0 < limit < len(photos) else items


def collect(inputs: Sequence[str], out: Path, *, inversions: bool) -> list[Item]:
    """Everything below the inputs, sorted by name; folders and zips are searched, hidden names and `out` are not.

    inversions: whether saved inversions and videos count as inputs; those in zips do not. Links are followed, but no
    folder is entered twice. With several folders or zips, names begin with the folder's own. SdicError for an input
    that does not exist, and for a zip that cannot be read.
    """
    paths = [examples_meant(word) or Path(word) for word in inputs]
    several = sum(path.is_dir() or _is_zip(path) for path in paths) > 1
    items: list[Item] = []
    for path in paths:
        if not os.path.lexists(path):
            raise SdicError(f"{path.absolute()}: no such file or folder")
        if path.is_dir():
            if path.resolve() == out.resolve():
                raise SdicError(f"{path.absolute()} is both input and --out; write to {path / 'out'}, or elsewhere")
            prefix = path.resolve().name if several else ""
            for file, inner, problem in walk_files(path, skip=out):
                name = (prefix / Path(inner)).as_posix()
                items.append(Item(file, name, name, problem) if problem else _item(file, name, inversions))
        elif _is_zip(path):
            items += _unpacked(path, path.stem if several else "")
        else:  # what is named is meant
            unread = what_is(path).unread
            items.append(_item(path, path.name, inversions, Kind(not unread, unread)))
    unique = {(item.path.absolute(), item.member): item for item in items}
    return distinct(sorted(unique.values(), key=lambda item: (item.name, str(item.path))))


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ZIP and path.is_file()


def _unpacked(path: Path, prefix: str) -> list[Item]:
    """What is in a zip, as if it were a folder."""
    archive, items = ZipSource(path, packed=True), []
    for member in (*archive.names, *archive.unread, *archive.other):
        name = (PurePosixPath(prefix) / member.lstrip("/")).as_posix()
        item = _item(path, name, kind=Kind(member in archive.names, archive.unread.get(member, "")))
        problem = item.problem or archive.problems.get(member)
        items.append(replace(item, problem=problem, archive=archive, member=member))
    return items


def _item(path: Path, name: str, inversions: bool = False, kind: Kind | None = None) -> Item:
    """A saved inversion; a photo; a failure, of a picture or video that sdic does not read; or something else."""
    suffix = PurePosixPath(name).suffix
    if inversions and suffix.lower() == INVERSION:
        return InversionItem(path, name, name.removesuffix(suffix))
    stem, kind = name.removesuffix(suffix) if by_name(suffix.lower()).picture else name, kind or what_is(path)
    if inversions and kind.video and has_video():
        return VideoItem(path, name, name.removesuffix(suffix))
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
            item = replace(item, stem=stem, notes=(f"named {stem}.png, to distinguish it from {others}",))
        result.append(item)
    return result


def _folded(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def codes_in(path: Path, name: str) -> list[Item]:
    """Every code of a file, each an item of its own; a file that cannot be read is one item that says why.

    Understood are tensors [L, D], [N, L, D] and [N, 1, L, D], [D] and [1, D] for codes of W, and lists or dicts of
    these (name -> code, its steps, or {"latent": code}). Nothing in the file is executed. name: the file's, for people.
    """
    base, found, reason = name.removesuffix(path.suffix), [], ""
    try:
        found = list(_codes(read_arrays(path), ""))
    except CheckpointError as error:
        reason = str(error).removeprefix(f"{path}: ")
    shapes = {tuple(code.shape) for _, code in found if isinstance(code, Tensor)}
    if len(shapes) != 1:  # the weights of a network are tensors too
        what = f"tensors of {len(shapes)} shapes" if shapes else "none"
        known = "no codes: these are tensors [18, 512], or a dict of names with one each"
        return [Item(path, name, base, reason or f"{known}, and the file holds {what}")]
    items: list[Item] = []
    for key, code in found:
        label, stem = f"{name}#{key}" if key else name, _joined(base, key)
        if key.strip("0123456789-"):
            stem = base[: len(base) - len(path.stem)] + key
        if isinstance(code, Tensor):
            items.append(CodeItem(path, label, stem, code=code))
        else:
            items.append(Item(path, label, stem, f"a code is [rows, width], this is {code}"))
    return items


def _with_codes(items: Sequence[Item]) -> list[Item]:
    """Where a folder holds no photo at all, the files that may hold codes are meant."""
    if not all(item.ignored for item in items):
        return list(items)
    found: list[Item] = []
    for item in items:
        codes = codes_in(item.path, item.name) if item.path.suffix.lower() in CODES else []
        found += codes if any(isinstance(code, CodeItem) for code in codes) else [item]
    return found


def _codes(content: Any, name: str) -> Iterator[tuple[str, Tensor | str]]:
    """(name, code or what it is instead), the names safe for files."""
    if isinstance(content, Mapping) and isinstance(content.get("latent"), Tensor):
        content = content["latent"]
    if isinstance(content, Mapping | list | tuple):
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            inner = _joined(name, "" if len(content) == 1 and not _is_file_name(key) else _safe(str(key)))
            steps = isinstance(value, list) and value and all(isinstance(step, Tensor) for step in value)
            if isinstance(value, Tensor) or steps or (isinstance(value, Mapping) and "latent" in value):
                yield from _codes(value, inner)
            else:
                yield inner, f"a {type(value).__name__}"
    elif not isinstance(content, Tensor):
        yield name, f"a {type(content).__name__}"
    elif content.ndim in (1, 2) and 0 < content.numel() <= LARGEST and not content.is_complex():
        yield name, content.reshape(-1, content.shape[-1])
    elif content.ndim == 4 and content.shape[1] == 1:
        yield from _codes(content[:, 0], name)
    elif content.ndim == 3:
        if len(content) > MOST:
            raise CheckpointError(f"holds {len(content):,} codes, more than {MOST:,}")
        for index, code in enumerate(content):
            yield _joined(name, f"{index:05d}" if len(content) > 1 else ""), code
    else:
        yield name, str(list(content.shape))


def _joined(*parts: str) -> str:
    return "-".join(filter(None, parts))


def _is_file_name(key: object) -> bool:
    return isinstance(key, str) and Path(key).suffix.lower() in SUFFIXES


def _safe(key: str) -> str:
    """A key of somebody's dict as a file's name: no folders, nothing hidden, no ending of a picture."""
    key = key[: -len(Path(key).suffix)] if _is_file_name(key) else key
    return "".join("_" if mark in '/\\:*?"<>|' else mark for mark in printable(key)).lstrip(". ") or "code"
