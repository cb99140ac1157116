"""What became of a photo: its outcome, its record below OUT/.sdic, and the lock that says whether others are at work.

An output counts as done when its record has the key that the run asks for (same photo, weights and settings) and the
file on the disk is still the one that was written.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sdic.errors import SdicError
from sdic.runner.inputs import Item
from sdic.utils.files import remove_temporaries, sha256_of, within_limits, write_atomic
from sdic.utils.text import printable

FOLDER = ".sdic"
VERSION = 1  # part of every key: raise it when the same settings give other pictures


class OutputError(SdicError):
    """The output folder cannot be written: it is full, read-only, or not ours."""


def key_of(**parts: Any) -> str:
    """A short hash of everything that an output depends on."""
    return hashlib.sha256(json.dumps([VERSION, parts], sort_keys=True).encode()).hexdigest()[:32]


FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
"""What will go wrong for every further file too."""


@contextlib.contextmanager
def writing(path: Path, only_fatal: bool = False) -> Iterator[None]:
    """Turn a failure to write below the output folder into an OutputError, which ends the run.

    `only_fatal` lets through what concerns one file alone, such as a name that is too long.
    """
    try:
        yield
    except OSError as error:
        if only_fatal and error.errno not in FATAL:
            raise
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot write {path}: {reason}. What was finished is kept; make room or choose another --out, and run the "
            "same command again"
        ) from error


DONE, SKIPPED, FAILED, IGNORED, PENDING = "done", "skipped", "failed", "ignored", "not finished"


@dataclass
class Outcome:
    """One input's line in the report. status: done (now), skipped (already done), failed, ignored or not finished.

    amounts: edit -> direction -> what was asked, the strength it took, and what was reached (`evaluation.amounts`).
    inversion: "computed" now, "saved" when an earlier one, or a code, was used.
    seconds: the model's share, without reading and writing. Name, reason and warnings are made printable.
    """

    name: str
    status: str
    reason: str | None = None
    warnings: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    amounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    inversion: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.name = printable(self.name)
        self.reason = None if self.reason is None else printable(self.reason)
        self.warnings = [printable(warning) for warning in self.warnings]


def decided(item: Item) -> Outcome | None:
    """The outcome of what cannot even be tried, None for everything else."""
    if item.problem is None:
        return None
    return Outcome(item.name, IGNORED if item.ignored else FAILED, item.problem, list(item.notes))


@dataclass
class Record:
    """One photo's record. outputs: path relative to OUT -> key, size, mtime_ns and sha256 of the file. last: what
    became of it in the last run of several ranks. faces: what was found in a raw photo (`sdic.runner.raw`)."""

    out: Path = Path()
    path: Path = Path()
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    faces: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, out: Path, stem: str) -> Record:
        """The record of an output name; an absent or unreadable one is empty, and its photo is done again."""
        path = out / within_limits(f"{FOLDER}/records/{stem}", ".json")
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, KeyError):
            content = json.loads(path.read_text(encoding="utf-8"))
            extra = (dict(content.get(name, {})) for name in ("last", "faces"))
            return cls(out, path, dict(content["outputs"]), list(content["warnings"]), *extra)
        return cls(out, path)

    def is_done(self, output: str, key: str) -> bool:
        """Whether the file was made with this key and has not been touched since."""
        with contextlib.suppress(OSError, SdicError, KeyError, TypeError):
            entry, path = self.outputs[output], self.out / output
            found = os.stat(path)
            if entry["key"] == key and entry["size"] == found.st_size:
                # The time settles it without reading; a copied folder has new times and the same content.
                return found.st_mtime_ns == entry["mtime_ns"] or sha256_of(path) == entry["sha256"]
        return False

    def reached(self, output: str) -> dict[str, Any]:
        """What an edit was measured to reach when its file was written; {} where nothing measured it."""
        with contextlib.suppress(KeyError, TypeError):
            return dict(self.outputs[output].get("reached") or {})
        return {}

    def add(self, output: str, key: str, reached: Mapping[str, Any] | None = None) -> None:
        """Note a file that was just written, and what it was measured to reach."""
        path = self.out / output
        found = os.stat(path)
        about = {"key": key, "size": found.st_size, "mtime_ns": found.st_mtime_ns, "sha256": sha256_of(path)}
        self.outputs[output] = {**about, **({"reached": dict(reached)} if reached else {})}

    def save(self, run: str, outcome: Outcome) -> None:
        """Write the record, whole or not at all; with the outcome where `run` marks a run of several ranks."""
        self.last = {"run": run, **asdict(outcome)} if run else {}
        content = {"outputs": self.outputs, "warnings": self.warnings, "last": self.last, "faces": self.faces}
        with writing(self.path):
            write_atomic(self.path, json.dumps(content, indent=1))

    def outcome(self, run: str, since: float) -> Outcome | None:
        """What the run of that mark said of the photo after the time `since`, if anything."""
        with contextlib.suppress(OSError, TypeError, AttributeError):
            if self.last.get("run") == run and os.stat(self.path).st_mtime > since:
                return Outcome(**{name: value for name, value in self.last.items() if name != "run"})
        return None


def mark_of_run(settings: Mapping[str, Any]) -> str:
    """What the ranks of one run have in common: their settings, and torchrun's port and id, which distinguish runs as
    far as torchrun does."""
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
    return key_of(run=[os.environ.get(name, "") for name in names], settings=settings)


def others(out: Path, parts: Iterable[Sequence[Item]], run: str, since: float, wait: float) -> dict[Item, Outcome]:
    """What the other ranks of a run did with their parts of the list, as the records say; nothing of what is not known.

    Rank 0 waits for them as long as records appear, and `wait` seconds more. since: older records are of another run.
    """

    def outcome(item: Item) -> Outcome | None:
        return decided(item) or Record.load(out, item.stem).outcome(run, since)

    found: dict[Item, Outcome] = {}
    waiting, last = [deque(part) for part in parts], time.monotonic()
    while any(waiting) and time.monotonic() - last < wait:
        before = len(found)
        for part in waiting:
            while part and (known := outcome(part[0])) is not None:
                found[part.popleft()] = known
        if len(found) > before:
            last = time.monotonic()
        else:
            time.sleep(0.05)
    rest = ((item, outcome(item)) for part in waiting for item in part)
    return found | {item: known for item, known in rest if known is not None}


@contextlib.contextmanager
def at_work(out: Path) -> Iterator[None]:
    """Hold the output folder's lock, which any number of runs may share.

    Whoever finds it free is alone, and first clears what a killed run left unfinished. The system frees the lock of a
    process that dies, however it dies.
    """
    lock = out / FOLDER / "lock"
    with writing(out):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = open(lock, "ab")  # noqa: SIM115 - held until the end of the run
    with handle:
        with contextlib.suppress(ImportError):  # Windows: unfinished files stay, which does no harm
            import fcntl

            with contextlib.suppress(OSError):  # others are at work, or the file system has no locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_temporaries(out)
            with contextlib.suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_SH)
        yield
