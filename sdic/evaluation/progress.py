"""How far an evaluation is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time

EVERY = 30.0  # seconds between lines, when there is no terminal


class ProgressBar:
    """`step(what)` says that one more is begun, and what it is."""

    def __init__(self, total: int, unit: str):
        self._total, self._unit, self._count = total, unit, 0
        self._printed = time.monotonic()
        self._bar = None
        if total and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=unit, dynamic_ncols=True)

    def step(self, what: str) -> None:
        """One more."""
        self._count += 1
        if self._bar is not None:
            self._bar.set_description(what, refresh=False)
            self._bar.update()
        elif time.monotonic() - self._printed > EVERY:
            print(f"{what}: {self._count} of {self._total} {self._unit}s", file=sys.stderr, flush=True)
            self._printed = time.monotonic()

    def within(self, what: str, step: int, steps: int) -> None:
        """How far the photo at hand is, for methods that take minutes."""
        wait = 0.5 if self._bar is not None else EVERY
        if time.monotonic() - self._printed > wait:
            self._printed = time.monotonic()
            if self._bar is not None:
                self._bar.set_postfix_str(f"{what} {step}/{steps}")
            else:
                print(
                    f"{self._count + 1} of {self._total}: {what}, step {step} of {steps}", file=sys.stderr, flush=True
                )

    def close(self) -> None:
        """The end, good or not."""
        if self._bar is not None:
            self._bar.close()
