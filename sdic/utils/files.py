"""Files that are whole or not there: atomic writing, hashing, finding."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

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


def write_safetensors(path: str | os.PathLike[str], blob: bytes) -> None:
    """Write what `safetensors.torch.save` returned, its header's texts in order: equal content gives equal files."""
    size = int.from_bytes(blob[:8], "little")
    with atomic_file(path) as handle:
        handle.write(header_in_order(blob[8 : 8 + size]))
        handle.write(memoryview(blob)[8 + size :])


def header_in_order(text: bytes) -> bytes:
    """The length and the JSON of a safetensors header with our texts in order; the library's order is random."""
    header = json.loads(text)
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


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


def sha256_of(path: str | os.PathLike[str]) -> str:
    """Hex sha256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


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
