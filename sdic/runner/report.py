"""What became of every file: one line each in report.json, and the words at the end of a run."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sdic.runner.records import FOLDER, writing
from sdic.utils.files import write_atomic
from sdic.utils.text import printable

DONE, SKIPPED, FAILED, IGNORED, PENDING = "done", "skipped", "failed", "ignored", "not finished"
STALE = 120.0  # seconds that ranks of one run may start apart


@dataclass
class Outcome:
    """One input's line in the report. status: done (now), skipped (already done), failed, ignored or not finished.

    inversion: "computed" now, "saved" when an earlier one, or a code, was used. seconds: the model's share, without
    reading and writing. Name, reason and warnings are made printable.
    """

    name: str
    status: str
    reason: str | None = None
    warnings: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    inversion: str | None = None
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.name = printable(self.name)
        self.reason = None if self.reason is None else printable(self.reason)
        self.warnings = [printable(warning) for warning in self.warnings]


def versions() -> dict[str, str]:
    """What the pictures may depend on besides weights and settings."""
    import PIL
    import torch

    import sdic

    return {
        "sdic": sdic.__version__,
        "torch": torch.__version__,
        "pillow": PIL.__version__,
        "python": platform.python_version(),
    }


def totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many inputs have each status; all of them under "photos", without what was ignored."""
    counts = Counter(outcome.status for outcome in outcomes)
    photos = sum(counts.values()) - counts[IGNORED]
    return {"photos": photos, **{status: counts[status] for status in (DONE, SKIPPED, FAILED, PENDING, IGNORED)}}


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    """Such as "12 photos: 0 new, 12 already done"."""
    count = totals(outcomes)
    photos = f"{count['photos']} photo{'' if count['photos'] == 1 else 's'}"
    text = f"{photos}: {count[DONE]} new, {count[SKIPPED]} already done"
    for status in (FAILED, PENDING):
        text += f", {count[status]} {status}" if count[status] else ""
    if count[IGNORED]:
        text += f"; {count[IGNORED]} other file{'' if count[IGNORED] == 1 else 's'} left aside"
    return f"{text} ({seconds:.1f} s)"


def write_report(path: Path, head: Mapping[str, Any], outcomes: Sequence[Outcome]) -> None:
    """Write report.json, whole or not at all. Names that are not Unicode are escaped."""
    content = {**head, "totals": totals(outcomes), "files": [asdict(outcome) for outcome in outcomes]}
    with writing(path):
        write_atomic(path, json.dumps(content, indent=1) + "\n")


class RankParts:
    """How ranks of one `torchrun` tell rank 0 what they did: a small file each, rewritten as a sign of life."""

    def __init__(self, out: Path, rank: int, count: int, wait_seconds: float):
        self._folder = out / FOLDER / "ranks"
        self._rank, self._count, self._wait = rank, count, wait_seconds
        self._started = time.time()
        # The port and id tell runs apart as far as torchrun does; the times do the rest.
        names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
        self._run = " ".join(os.environ.get(name, "") for name in names)

    def put(self, outcomes: Sequence[Outcome], finished: bool) -> None:
        """Say how far this rank is."""
        content = {
            "run": self._run,
            "started": self._started,
            "finished": finished,
            "files": [asdict(outcome) for outcome in outcomes],
        }
        path = self._path(self._rank)
        with writing(path):
            write_atomic(path, json.dumps(content))

    def gather(self, own: Sequence[Outcome]) -> list[Outcome]:
        """Rank 0: wait for the others, as long as they show signs of life, and join what everybody did."""
        outcomes = list(own)
        waiting, last = set(range(1, self._count)), time.monotonic()
        seen: dict[int, float] = {}
        while waiting and time.monotonic() - last < self._wait:
            for rank in sorted(waiting):
                part = self._get(rank)
                if part is not None and part["finished"]:
                    waiting.discard(rank)
                    last = time.monotonic()
                with contextlib.suppress(OSError):
                    changed = os.stat(self._path(rank)).st_mtime
                    if seen.get(rank) != changed:
                        seen[rank], last = changed, time.monotonic()
            if waiting:
                time.sleep(0.05)
        for rank in range(1, self._count):
            part = self._get(rank)
            outcomes += [Outcome(**line) for line in part["files"]] if part is not None else []
            with contextlib.suppress(OSError):
                self._path(rank).unlink()
        with contextlib.suppress(OSError):
            self._path(0).unlink()
        return outcomes

    def _path(self, rank: int) -> Path:
        return self._folder / f"rank-{rank}-of-{self._count}.json"

    def _get(self, rank: int) -> dict[str, Any] | None:
        """Another rank's part, if it is of this run."""
        try:
            part = json.loads(self._path(rank).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return part if part["run"] == self._run and part["started"] > self._started - STALE else None
