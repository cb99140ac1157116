"""What a person hears of a run: a bar or a line now and then, report.json, and the words at its end."""

from __future__ import annotations

import platform
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import PIL
import torch

from sdic import __version__
from sdic.runner.inputs import Item
from sdic.runner.records import DONE, FAILED, IGNORED, PENDING, SKIPPED, Outcome
from sdic.utils.text import printable

EVERY = 10.0  # seconds between lines, when there is no terminal
MOST_LINES = 50


class Report:
    """The outcomes of a run, by item, said as they come. quiet: nothing on the screen (ranks other than 0)."""

    def __init__(self, total: int, quiet: bool = False):
        self.outcomes: dict[Item, Outcome] = {}
        self._total, self._quiet, self._spoken = total, quiet, time.monotonic()
        self._bar, self._lock = None, threading.Lock()
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="photo", dynamic_ncols=True)

    def add(self, item: Item, outcome: Outcome) -> None:
        """One item is finished; any thread may say so."""
        with self._lock:
            self.outcomes[item] = outcome
            if self._bar is not None:
                self._bar.update()
                if outcome.status == FAILED:
                    self._bar.write(f"failed: {outcome.name}: {outcome.reason}", file=sys.stderr)
            elif time.monotonic() - self._spoken > EVERY:
                self.say(f"{len(self.outcomes)} of {self._total}")
                self._spoken = time.monotonic()

    def within(self, what: str, step: int, steps: int) -> None:
        """How far the photo at hand is, for methods that take minutes."""
        if self._quiet:
            return
        wait = 0.5 if self._bar is not None else EVERY
        with self._lock:
            if time.monotonic() - self._spoken <= wait:
                return
            self._spoken = time.monotonic()
            if self._bar is not None:
                self._bar.set_postfix_str(f"{what} {step}/{steps}")
            else:
                self.say(f"photo {len(self.outcomes) + 1} of {self._total}: {what}, step {step} of {steps}")

    def say(self, line: str) -> None:
        """A line for the person."""
        if not self._quiet:
            print(printable(line), file=sys.stderr, flush=True)

    def close(self) -> None:
        """The end of this process's share, good or not."""
        if self._bar is not None:
            self._bar.close()

    def listed(self, items: Sequence[Item], reason: str) -> list[Outcome]:
        """The outcomes in the order of the items; one that nobody reported is not finished, for that reason."""
        return [self.outcomes.get(item) or Outcome(item.name, PENDING, reason) for item in items]


def versions() -> dict[str, str]:
    """What the pictures may depend on besides weights and settings."""
    libraries = {"torch": torch.__version__, "pillow": PIL.__version__, "python": platform.python_version()}
    return {"sdic": __version__, **libraries}


def totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many inputs have each status; all of them under "photos", without what was ignored."""
    counts = Counter(outcome.status for outcome in outcomes)
    photos = sum(counts.values()) - counts[IGNORED]
    return {"photos": photos, **{status: counts[status] for status in (DONE, SKIPPED, FAILED, PENDING, IGNORED)}}


def conclude(outcomes: Sequence[Outcome], out: Path, sheets: Sequence[str], seconds: float) -> int:
    """Say what was done, such as "12 photos: 0 new, 12 already done", and what was not; the exit code."""
    count = totals(outcomes)
    text = f"{count['photos']} photo{'s' * (count['photos'] != 1)}: {count[DONE]} new, {count[SKIPPED]} already done"
    for status in (FAILED, PENDING):
        text += f", {count[status]} {status}" if count[status] else ""
    text += f"; {count[IGNORED]} other file{'s' * (count[IGNORED] != 1)} left aside" if count[IGNORED] else ""
    print(f"{text} ({seconds:.1f} s) -> {printable(str(out))}" + (f", see {sheets[0]}" if sheets else ""))
    bad = [outcome for outcome in outcomes if outcome.status in (FAILED, PENDING)]
    for outcome in bad[:MOST_LINES]:
        print(f"  {outcome.status}: {outcome.name}: {outcome.reason}", file=sys.stderr)
    if len(bad) > MOST_LINES:
        print(f"  and {len(bad) - MOST_LINES} more, see {out / 'report.json'}", file=sys.stderr)
    return 1 if bad else 0
