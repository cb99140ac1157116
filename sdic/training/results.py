"""What a run gives away: records, weights and the best of them, pictures, and the result of a finished run.

The first process writes. Where it cannot, every process ends with its line, and none waits for it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import torch

from sdic.checkpoints import read_bundle, write_native
from sdic.config import to_yaml
from sdic.training.runlog import RunLog
from sdic.training.state import Progress
from sdic.training.state_files import all_or_none, images_of
from sdic.training.task import Task, improves
from sdic.utils.files import write_atomic
from sdic.utils.images import write_png


class Results:
    """The files of a run folder that are not its state."""

    def __init__(self, task: Task, folder: Path, log: RunLog):
        self.task, self.world, self.config, self.log = task, task.world, task.config, log
        self.folder = folder
        self.checkpoints = folder / "checkpoints"

    def leading(self, write: Callable[[], None]) -> None:
        """Let the first process write."""
        all_or_none(self.world, self.checkpoints, write if self.world.leads else lambda: None)

    def share_buffers(self) -> None:
        """The first process's running statistics are the ones that count."""
        for network in (*self.task.networks.values(), *(a.network for a in self.task.averages.values())):
            self.world.share_buffers(network)

    def record(self, images: int, kind: str, values: dict[str, float]) -> None:
        """A line of metrics.jsonl."""
        self.leading(lambda: self.log.record(images, self.config.run.images, kind, values))

    def validate(self, progress: Progress) -> None:
        """Measure, write it down, and keep the weights if they are the best so far."""
        self.share_buffers()
        with torch.random.fork_rng():
            self.task.seed("validation")
            values = self.world.gather(self.task.evaluate())[0]
        progress.measured = values
        if not values:
            return
        self.record(progress.images, "validation", values)
        name, better = self.task.best()
        if name and name not in values:
            self.log.say(f"validation.best={name} is not among the values; no best weights are kept")
        value = values.get(name, math.nan)
        if improves(value, progress.best, better):
            progress.best, progress.best_measured = value, values
            self.leading(lambda: self._weights(self.checkpoints / "best.safetensors", progress.images))

    def draw(self, path: Path, images: int) -> None:
        """The task's picture grid."""

        def write() -> None:
            with torch.no_grad(), torch.random.fork_rng():
                self.task.seed("pictures")
                picture = self.task.picture()
            if picture is not None:
                write_png(path, picture.float().nan_to_num().clamp(-1, 1).cpu())
                self.log.picture(images, path, "pictures")

        if self.config.run.pictures:
            self.share_buffers()
            self.leading(write)

    def weights(self, images: int) -> None:
        """The exported networks as they are, instead of those of `run.keep_last` saves ago. Only the first process."""
        self._weights(self.checkpoints / f"weights-{images:08d}.safetensors", images)
        there = [path for path in sorted(self.checkpoints.glob("weights-*")) if images_of(path) <= images]
        for path in there[: -self.config.run.keep_last]:
            path.unlink(missing_ok=True)

    def finish(self, progress: Progress) -> None:
        """What a finished run is for: networks (the best, where `validation.best` says which those are), settings, what
        was measured, a picture."""
        folder, images = self.folder / "result", progress.images
        note = folder / "metrics.json"
        if self.world.gather(note.is_file() and json.loads(note.read_text()).get("images") == images)[0]:
            return
        self.draw(folder / "samples.png", images)

        def write() -> None:
            best = self.checkpoints / "best.safetensors"
            kept = progress.best is not None and best.is_file()
            networks = read_bundle(best).networks if kept else self.task.exported()
            files = self.task.export(folder, networks, self._header(images))
            write_atomic(folder / "config.yaml", to_yaml(self.config))
            values = progress.best_measured if kept else progress.measured
            write_atomic(note, json.dumps({"images": images, **values}, indent=2) + "\n")
            self.log.say("done: " + ", ".join(f"{path} {path.stat().st_size / 2**20:.2f} MiB" for path in files))

        self.leading(write)

    def _weights(self, path: Path, images: int) -> None:
        about = {"name": self.folder.name, **self._header(images)}
        write_native(path, self.task.exported(), about)

    def _header(self, images: int) -> dict[str, str]:
        return {"images": str(images), **self.task.header()}
