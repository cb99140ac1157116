"""Files that are whole or not there: atomic writing, hashing, finding."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sdic.errors import SdicError

TEMPORARY_PREFIX = ".sdic-tmp-"


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A binary file that takes its final name only when the block ends well; otherwise nothing is left."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(name, 0o666 & ~_umask())  # mkstemp makes files that only their owner can read
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a whole file under its final name, or nothing."""
    with atomic_file(path) as handle:
        handle.write(data.encode() if isinstance(data, str) else data)


LONGEST = 255
"""Bytes of a file's name, its ending included, that every usual file system takes."""


def within_limits(name: str, ending: str = "") -> str:
    """A name (with "/" between folders) and its ending; a part that is too long is cut, and a hash tells it from
    others that begin alike."""
    *folders, last = name.split("/")
    return "/".join([*(_cut(folder, "") for folder in folders), _cut(last, ending)])


def _cut(name: str, ending: str) -> str:
    whole = os.fsencode(name + ending)
    if len(whole) <= LONGEST:
        return name + ending
    mark = f"-{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{ending}"
    kept = os.fsencode(name)[: LONGEST - len(mark)]
    return kept.decode("utf-8", "ignore") + mark


def sha256_of(path: str | os.PathLike[str], limit: int | None = None) -> str:
    """Hex sha256 of a file's bytes.

    SdicError for what is not a regular file, has more than `limit` bytes, or goes on longer than it says: a pipe or a
    device would keep its reader for ever. OSError for what cannot be opened.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise SdicError(f"{os.fspath(path)}: not a regular file")
    if limit is not None and found.st_size > limit:
        raise SdicError(f"{os.fspath(path)}: {found.st_size} bytes, more than the {limit} that are looked at")
    digest, count = hashlib.sha256(), 0
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            count += len(chunk)
            if count > found.st_size:
                raise SdicError(f"{os.fspath(path)}: longer than it was a moment ago; is it still being written?")
            digest.update(chunk)
    return digest.hexdigest()


def walk_files(
    root: str | os.PathLike[str], skip: str | os.PathLike[str] | None = None
) -> Iterator[tuple[Path, str, str]]:
    """Every file below a folder: (path, name relative to it with forward slashes, what is wrong or an empty string).

    Hidden names and the folder `skip` are left aside. Links are followed, but no folder is entered twice. A folder that
    cannot be read comes with its reason instead of its files. In no particular order.
    """
    root = Path(root)
    seen = set() if skip is None else {os.path.realpath(skip)}
    problems: list[OSError] = []
    for folder, folders, files in os.walk(root, onerror=problems.append, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:  # a link in a circle, or `skip`
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not name.startswith("."):
                path = Path(folder, name)
                yield path, path.relative_to(root).as_posix(), ""
    for error in problems:
        path = Path(error.filename)
        name = path.name if path == root else path.relative_to(root).as_posix()
        yield path, name, f"folder cannot be read ({error.strerror})"


def remove_temporaries(folder: str | os.PathLike[str]) -> int:
    """Delete what a killed run left unfinished below `folder`; returns how many files."""
    count = 0
    for path in Path(folder).rglob(TEMPORARY_PREFIX + "*"):
        with contextlib.suppress(OSError):
            path.unlink()
            count += 1
    return count


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def data_folders(environment: str, *usual: Path, installed: Path) -> list[Path]:
    """Where files that come with sdic are looked for, in order, each folder once: the one that an environment variable
    names, the usual ones, and where `pip install` puts them, if that is there."""
    named = os.environ.get(environment)
    folders = [*([Path(named)] if named else []), *usual, *([installed] if installed.is_dir() else [])]
    return list(dict.fromkeys(folders))
