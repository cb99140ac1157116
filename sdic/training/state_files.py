"""States on disk, for every training: written whole, checked when read, and where one is damaged the older one counts.

A state is one file that torch wrote, `state-IMAGES.pt`, whose zip has a checksum of every entry; or such a file in
pieces, `state-IMAGES.000` and so on, with an index `state-IMAGES.json` that is written last and holds their hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch

from sdic.errors import CheckpointError, SdicError
from sdic.training.distributed import World
from sdic.utils.files import TEMPORARY_PREFIX, atomic_file, write_atomic

T = TypeVar("T")
NAME = re.compile(r"state-(\d+)\.(pt|json|\d{3,})")


def write_state(folder: Path, images: int, state: dict[str, Any], keep: int, piece: int = 0) -> None:
    """Write a state, then delete all but the newest `keep`: at every moment a whole one is on disk.

    piece: the largest size of a file in bytes, 0 for one file. Later states go too: a run that is before them has found
    them damaged.
    """
    buffer = io.BytesIO()  # and not the file: torch reports a full disk as an error of its own
    torch.save(state, buffer)
    blob, stem = buffer.getbuffer(), f"state-{images:08d}"
    pieces = [blob[place : place + piece] for place in range(0, len(blob), piece)] if piece else [blob]
    files = [folder / (f"{stem}.{number:03d}" if piece else f"{stem}.pt") for number in range(len(pieces))]
    try:
        for file, part in zip(files, pieces, strict=True):
            with atomic_file(file) as handle:
                handle.write(part)
        if piece:
            index = {"images": images, "parts": len(pieces), "sha256": hashlib.sha256(blob).hexdigest()}
            write_atomic(folder / f"{stem}.json", json.dumps(index))
    except OSError:
        if piece and not (folder / f"{stem}.json").is_file():
            for file in files:  # pieces without an index are of no use and take room
                file.unlink(missing_ok=True)
        raise
    kept = [path.stem for path in list_states(folder) if images_of(path) <= images][-keep:]
    for path in folder.glob("state-*"):
        if NAME.fullmatch(path.name) and path.stem not in kept:
            path.unlink(missing_ok=True)


def list_states(folder: Path) -> list[Path]:
    """The states in a folder, whole or not, oldest first: each by its one file or its index."""
    found = (path for path in folder.glob("state-*") if NAME.fullmatch(path.name) and path.suffix in (".pt", ".json"))
    return sorted(found, key=images_of)


def images_of(path: Path) -> int:
    """The images in a file name of ours."""
    return int(re.search(r"-(\d+)", path.name).group(1))  # type: ignore[union-attr]


def resume(folder: Path, take: Callable[[Path, dict[str, Any]], T], say: Callable[[str], None]) -> T | None:
    """What `take` makes of the newest state that is whole, tensors on the CPU; None where there is no state.

    A damaged state, or one that `take` cannot use, is named by `say`, and the older one is tried. CheckpointError where
    none is left. An SdicError of `take` (other settings, other networks) is raised as it is.
    """
    states = list_states(folder)
    for path in reversed(states):
        try:
            return take(path, _read(path))
        except (SdicError, MemoryError, torch.OutOfMemoryError, PermissionError):
            raise
        except Exception as error:  # whatever damage does to those who read it, the older state is the answer
            reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
            say(f"{path} is damaged and left out ({reason})")
    if states:
        raise CheckpointError(
            f"{folder}: none of the {len(states)} states there can be read, the newest is {states[-1].name}; use "
            "another run.dir, or delete them to begin this run anew"
        )
    return None


def _read(path: Path) -> dict[str, Any]:
    file: Path | io.BytesIO = path
    if path.suffix == ".json":
        index = json.loads(path.read_text(encoding="utf-8"))
        blob = b"".join((path.parent / f"{path.stem}.{n:03d}").read_bytes() for n in range(index["parts"]))
        if hashlib.sha256(blob).hexdigest() != index["sha256"]:
            raise ValueError("its pieces do not have the hash in the index")
        file = io.BytesIO(blob)
    else:
        with zipfile.ZipFile(path) as archive:  # torch itself does not look at the checksums
            if broken := archive.testzip():
                raise ValueError(f"wrong checksum of {broken}")
    state = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise TypeError(f"holds a {type(state).__name__}, no state")
    return state


@contextlib.contextmanager
def keeping(folder: Path) -> Iterator[None]:
    """Turn a full, read-only or failing disk into a line: what failed, which state in `folder` is kept, what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None or isinstance(error, ConnectionError):  # of a loader's worker, of other processes
            raise
        named = Path(error.filename) if isinstance(error.filename, str) else folder
        place = named.parent if named.name.startswith(TEMPORARY_PREFIX) else named
        states = list_states(folder)
        kept = f"{states[-1]} is kept" if states else "No state has been saved yet"
        then = "goes on from there" if states else "begins again"
        raise SdicError(
            f"{place}: {error.strerror}. The run ends here. {kept}; make room, or make it writable, and the same "
            f"command {then}"
        ) from error


def all_or_none(world: World, folder: Path, work: Callable[[], T]) -> T | None:
    """Every process does its work, and has what it returns. Where the disk fails one of them, all end with its line,
    and none waits for it."""
    problem, found = "", None
    try:
        with keeping(folder):
            found = work()
    except SdicError as error:
        problem = str(error)
    world.end_if(problem)
    return found
