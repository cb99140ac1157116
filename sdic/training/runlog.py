"""What a run says and writes down: log.txt, metrics.jsonl, TensorBoard events, the progress bar.

metrics.jsonl holds only what the training itself decides (no times), so that a resumed run writes the same file as one
that was never interrupted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdic.utils.files import write_atomic

logger = logging.getLogger("sdic.training")


class RunLog:
    """The run folder's records. Of several processes only the first writes; for the others every call does nothing."""

    def __init__(self, folder: Path, writes: bool, tensorboard: bool):
        self.folder = folder
        self.writes = writes
        self.lines = 0  # of metrics.jsonl
        self._with_tensorboard = tensorboard and writes
        self._events: Any = None
        self._bar: Any = None
        self._handlers: list[logging.Handler] = []
        self._excepthook = threading.excepthook
        self._began = (time.monotonic(), 0)
        self._spent = [0.0, 0]  # seconds and images since the last line: validation and saving do not count
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            text = _LogFile(folder / "log.txt", encoding="utf-8")
            text.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
            self._handlers = [text, _Console()]
            for handler in self._handlers:
                logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            logger.propagate = False

    def say(self, message: str) -> None:
        """A line in the log and on the terminal."""
        if self.writes:
            logger.info("%s", message)

    def start(self, images: int, total: int, lines: int | None = None) -> None:
        """Begin (or go on) at `images` of `total`: later records are dropped, and those after the first `lines`, where
        it is known how many there were."""
        if not self.writes:
            return
        self._truncate(images, lines)
        if self._with_tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            threading.excepthook = _without_event_threads(self._excepthook)
            self._events = SummaryWriter(str(self.folder), purge_step=images + 1)
        from tqdm import tqdm

        # With disable=None only on a terminal.
        self._bar = tqdm(total=total, initial=images, unit="image", dynamic_ncols=True, disable=None)
        self._began = (time.monotonic(), images)

    def step(self, loss: float, images: int, seconds: float) -> None:
        """A step of so many images is done."""
        self._spent = [self._spent[0] + seconds, self._spent[1] + images]
        if self._bar is not None and not self._bar.disable:
            self._bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            self._bar.update(images)

    def record(self, images: int, total: int, kind: str, values: dict[str, float]) -> None:
        """A line of metrics.jsonl, the same to TensorBoard, and a line to read."""
        if not self.writes:
            return
        line = json.dumps({"images": images, "kind": kind, **values})
        with open(self.folder / "metrics.jsonl", "a", encoding="utf-8") as handle:
            handle.write(line + "\n")
        self.lines += 1
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{kind}/{name}", value, images)
        words = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if kind == "train":
            words += "  " + self._pace(images, total)
        self.say(f"{images}/{total} images  {kind}  {words}")

    def picture(self, images: int, path: Path, name: str) -> None:
        """Show a picture that lies in the run folder in TensorBoard too."""
        if self._events is not None:
            import numpy as np
            from PIL import Image

            with Image.open(path) as image:
                self._events.add_image(name, np.asarray(image.convert("RGB")), images, dataformats="HWC")

    def close(self) -> None:
        """Finish the files, as far as the disk takes it."""
        if self._bar is not None:
            self._bar.close()
        if self._events is not None:
            with contextlib.suppress(OSError):
                self._events.close()
        threading.excepthook = self._excepthook
        for handler in self._handlers:
            logger.removeHandler(handler)
            with contextlib.suppress(OSError):
                handler.close()
        self._handlers = []

    def _pace(self, images: int, total: int) -> str:
        (seconds, count), (then, first) = self._spent, self._began
        self._spent = [0.0, 0]
        left = int((total - images) * (time.monotonic() - then) / max(1, images - first))  # with all that comes between
        rate = count / max(seconds, 1e-9)
        return f"({rate:.3g} images/s, {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left)"

    def _truncate(self, images: int, lines: int | None) -> None:
        """Drop the lines after `images`, a line that a killed run left unfinished, and any that are damaged."""
        path = self.folder / "metrics.jsonl"
        if not path.is_file():
            return
        known, damaged = read_records(path)
        kept = [json.dumps(record) + "\n" for record in known if record["images"] <= images][:lines]
        if damaged:
            self.say(f"{path}: {damaged} lines cannot be read and are left out")
        write_atomic(path, "".join(kept))
        self.lines = len(kept)


def read_records(path: Path) -> tuple[list[dict[str, Any]], int]:
    """(the lines of a metrics.jsonl in order, how many others cannot be read, apart from an unfinished last one)."""
    lines = path.read_bytes().split(b"\n")
    records, damaged = [], 0
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line.decode())
            if not isinstance(record["images"], int) or not isinstance(record["kind"], str):
                raise TypeError(line)
            records.append(record)
        except (ValueError, KeyError, TypeError, RecursionError):
            damaged += number < len(lines)
    return records, damaged


def _without_event_threads(before: Callable[[threading.ExceptHookArgs], Any]) -> Callable[..., Any]:
    """TensorBoard writes in a thread of its own, and raises what went wrong there at the next call: the thread's
    traceback says nothing more."""

    def hook(arguments: threading.ExceptHookArgs) -> None:
        of_events = type(arguments.thread).__name__ == "_AsyncWriterThread"
        if not (of_events and isinstance(arguments.exc_value, OSError)):
            before(arguments)

    return hook


class _LogFile(logging.FileHandler):
    """A log that cannot be written ends the run, as any other file does; logging would print a traceback and go on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name, called in its `except`
        raise


class _Console(logging.Handler):
    """Lines on stderr that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)
