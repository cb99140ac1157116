"""How far a run is: a bar on a terminal, a line now and then elsewhere, a sign of life for rank 0."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from sdic.runner.report import FAILED, Outcome, RankParts

EVERY = 10.0  # seconds between lines, when there is no terminal
ALIVE = 2.0  # seconds between a rank's signs of life


class Progress:
    """Called with every outcome. quiet: nothing on the screen (ranks other than 0)."""

    def __init__(self, total: int, parts: RankParts | None = None, quiet: bool = False):
        self._total, self._parts, self._quiet = total, parts, quiet
        self._outcomes: list[Outcome] = []
        self._spoken = self._alive = time.monotonic()
        self._bar = None
        if not quiet and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="photo", dynamic_ncols=True)
        if parts is not None:
            parts.put([], finished=False)

    def __call__(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        now = time.monotonic()
        if self._parts is not None and now - self._alive > ALIVE:
            self._parts.put(self._outcomes, finished=False)
            self._alive = now
        if self._bar is not None:
            self._bar.update()
            if outcome.status == FAILED:
                self._bar.write(f"failed: {outcome.name}: {outcome.reason}", file=sys.stderr)
        elif not self._quiet and now - self._spoken > EVERY:
            print(f"{len(self._outcomes)} of {self._total}", file=sys.stderr, flush=True)
            self._spoken = now

    def say(self, line: str) -> None:
        """A line for the person, once."""
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def close(self, outcomes: Sequence[Outcome], finished: bool) -> None:
        """The end of this process's share, good or not."""
        if self._bar is not None:
            self._bar.close()
        if self._parts is not None and finished:
            self._parts.put(outcomes, finished=True)
