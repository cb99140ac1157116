"""Several processes on one list: which part is whose, and what the others did, as their photos' records say."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdic.config import to_plain
from sdic.errors import ConfigError
from sdic.runner.inputs import Item
from sdic.runner.records import Outcome, Record, decided, key_of

STALE = 120.0  # seconds that ranks of one run may start apart


@dataclass(frozen=True)
class Share:
    """Which part of the list is this process's. ranks: the rest is that of torchrun's other ranks at the same time;
    without, of runs of their own (--shard)."""

    index: int = 0
    count: int = 1
    ranks: bool = False

    @classmethod
    def of(cls, shard: str) -> Share:
        """From "i/n" with 0 <= i < n, or without from what torchrun says in the environment."""
        if shard:
            parts = shard.split("/")
            if len(parts) != 2 or not all(part.isdecimal() for part in parts):
                raise ConfigError(f"shard must be i/n, such as 0/4, got {shard!r}")
            index, count = int(parts[0]), int(parts[1])
            if index >= count:
                raise ConfigError(f"shard {shard!r}: they count from 0, the last of {count} is {count - 1}/{count}")
            return cls(index, count)
        try:
            rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        except ValueError:
            return cls()
        return cls(rank, count, ranks=count > 1) if 0 <= rank < count else cls()

    @property
    def leads(self) -> bool:
        """Whether this process reports to the person: it works alone, or it is rank 0."""
        return not self.ranks or self.index == 0

    def part(self, items: Sequence[Item], index: int | None = None) -> Sequence[Item]:
        """This process's items, or those of another."""
        return items[self.index if index is None else index :: self.count]

    def name(self, base: str) -> str:
        """Such as "report", or "report-0-of-4" for a shard."""
        return f"{base}-{self.index}-of-{self.count}" if self.count > 1 and not self.ranks else base

    def mark(self, settings: Any) -> str:
        """What ranks of one run have in common, "" without ranks: their settings, and torchrun's port and id, which
        tell runs apart as far as torchrun does."""
        names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT")
        run = [os.environ.get(name, "") for name in names]
        return key_of(run=run, settings=to_plain(settings)) if self.ranks else ""


def begun(report: Path) -> float:
    """The time since which records may be of this run: its ranks start at about the same time, and the run before has
    ended with its report."""
    since = time.time() - STALE
    with contextlib.suppress(OSError):
        since = max(since, os.stat(report).st_mtime)
    return since


def others(out: Path, parts: Sequence[Sequence[Item]], run: str, since: float, wait: float) -> dict[Item, Outcome]:
    """What the other ranks did with their parts of the list; what is not known is left out.

    Rank 0 waits for them as long as records appear, and `wait` seconds more.
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
    late = {item: outcome(item) for part in waiting for item in part}
    return found | {item: known for item, known in late.items() if known is not None}
