"""What a run says and writes down: log.txt, metrics.jsonl, TensorBoard events, the progress bar.

metrics.jsonl holds only what the training itself decides (no times), so that a resumed run writes the same file as one
that was never interrupted.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

from sdic.utils.files import write_atomic

logger = logging.getLogger("sdic.training")


class RunLog:
    """The run folder's records. Of several processes only the first writes; for the others every call does nothing."""

    def __init__(self, folder: Path, writes: bool, tensorboard: bool):
        self.folder = folder
        self.writes = writes
        self._with_tensorboard = tensorboard and writes
        self._events: Any = None
        self._bar: Any = None
        self._handlers: list[logging.Handler] = []
        self._began = (time.monotonic(), 0)
        self._step_began = 0.0
        self._spent = [0.0, 0]  # seconds and images since the last line: validation and saving do not count
        if writes:
            folder.mkdir(parents=True, exist_ok=True)
            text = logging.FileHandler(folder / "log.txt", encoding="utf-8")
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

    def start(self, images: int, total: int) -> None:
        """Begin (or go on) at `images` of `total`: later records are dropped."""
        if not self.writes:
            return
        self._truncate(images)
        if self._with_tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._events = SummaryWriter(str(self.folder), purge_step=images + 1)
        from tqdm import tqdm

        self._bar = tqdm(
            total=total, initial=images, unit="image", dynamic_ncols=True, disable=None
        )  # only on a terminal
        self._began = (time.monotonic(), images)

    def begin_step(self) -> None:
        """A step begins."""
        self._step_began = time.monotonic()

    def end_step(self, loss: float, images: int) -> None:
        """A step of so many images is done."""
        self._spent = [self._spent[0] + time.monotonic() - self._step_began, self._spent[1] + images]
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
        """Finish the files."""
        if self._bar is not None:
            self._bar.close()
        if self._events is not None:
            self._events.close()
        for handler in self._handlers:
            logger.removeHandler(handler)
            handler.close()
        self._handlers = []

    def _pace(self, images: int, total: int) -> str:
        (seconds, count), (then, first) = self._spent, self._began
        self._spent = [0.0, 0]
        left = int((total - images) * (time.monotonic() - then) / max(1, images - first))  # with all that comes between
        rate = count / max(seconds, 1e-9)
        return f"({rate:.3g} images/s, {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left)"

    def _truncate(self, images: int) -> None:
        """Drop the lines after `images`, and a line that a killed run left unfinished."""
        path = self.folder / "metrics.jsonl"
        if not path.is_file():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["images"] <= images:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue
        write_atomic(path, "".join(kept))


class _Console(logging.Handler):
    """Lines on stderr that do not tear the progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)
