"""When a run is asked to stop: by a signal, or by the clock."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from typing import Any

CLOCK = -1  # stands for the signal where the minutes are over
OUT_OF_TIME = 3  # the exit code then


class Stop:
    """wish: the signal, or CLOCK, for which this process would stop; 0 for none. agreed: the same once all processes
    know: they stop after the same step, or they would wait for each other. alone: there is only this one."""

    def __init__(self, minutes: float = 0.0, alone: bool = True):
        self.deadline = time.monotonic() + 60 * minutes if minutes else math.inf
        self.alone = alone
        self.signal = 0
        self._agreed = 0

    @property
    def wish(self) -> int:
        return self.signal or (CLOCK if time.monotonic() > self.deadline else 0)

    @property
    def agreed(self) -> int:
        return self.wish if self.alone else self._agreed

    def agree(self) -> None:
        """Some process wishes to stop, and all of them have been asked."""
        self._agreed = self.wish or int(signal.SIGTERM)

    @property
    def exit_code(self) -> int:
        """0 after SIGTERM, 130 after Ctrl-C, OUT_OF_TIME after the minutes."""
        why = self.agreed or self.wish
        return OUT_OF_TIME if why == CLOCK else 130 if why == signal.SIGINT else 0

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT are wishes; the second one ends the process at once."""
        previous: dict[signal.Signals, Any] = {}

        def note(number: int, frame: object) -> None:
            self.signal = number
            for one, handler in previous.items():
                signal.signal(one, handler)

        with contextlib.suppress(ValueError):  # not in the main thread: whoever runs us there handles signals
            for number in (signal.SIGTERM, signal.SIGINT):
                previous[number] = signal.signal(number, note)
        try:
            yield
        finally:
            for one, handler in previous.items():
                signal.signal(one, handler)
