"""The photos of an inverter's training in their fixed order, the held-out ones, and the filling of the cache."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from sdic.data.dataset import Batch, PictureDataset, collate
from sdic.data.sampler import EpochOrder, ResumableSampler, View
from sdic.data.sources import NEED_NO_PATH, Request, open_source
from sdic.evaluation.metrics import Networks, metric
from sdic.faces.source import aligned
from sdic.methods import Inverter
from sdic.training.cache import FirstPassCache, fill
from sdic.training.distributed import World
from sdic.training.state_files import all_or_none
from sdic.training.task import StoppedError
from sdic.types import Geometry


@dataclass
class Photos:
    """dataset: the training photos. cache: of what the frozen networks make of them, or None."""

    config: Any
    geometry: Geometry
    world: World
    cache: FirstPassCache | None
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.known_problems: set[str] = set()
        data = self.config.data
        self.dataset = self._open(Request(data.source, data.path, data.names, data.limit))
        self.dataset.lookup = None if self.cache is None else self.cache.find
        self.say(f"{len(self.dataset)} pictures")

    def open_validation(self, networks: Networks) -> PictureDataset | None:
        """The held-out photos; None where the config names none. SdicError where a metric's network is missing."""
        wanted = self.config.validation
        if wanted.every and (wanted.path or wanted.source in NEED_NO_PATH):
            for name in wanted.metrics:
                metric(name, networks)  # an error now rather than at the first validation
            return self._open(Request(wanted.source, wanted.path, wanted.names, wanted.limit, "validation"))
        if wanted.every:
            self.say("no validation: validation.path is empty")
        return None

    def batches(self, first: int, size: int) -> Iterator[Batch]:
        """This process's micro-batches of `size` photos on the device, without end, after all processes together have
        had `first` photos."""
        order = EpochOrder(len(self.dataset), self.config.run.seed, self.config.data.flip)
        sampler = ResumableSampler(order, first, self.world.rank, self.world.size)
        for batch in DataLoader(self.dataset, size, sampler=sampler, **self._loading()):  # type: ignore[arg-type]
            for problem in batch.problems:
                self.left_out(problem)
            yield batch.to(self.world.device)

    def fill(self, cache: FirstPassCache, inverter: Inverter, stopped: Callable[[], bool]) -> None:
        """Make the cache's missing entries, every process its share. StoppedError when it was stopped before."""
        data, world = self.config.data, self.world
        contents: tuple[Any, ...] = (data.source, str(Path(data.path).absolute()), tuple(self.dataset.names), data.flip)
        contents += () if data.align == "never" else (data.align, data.face, data.landmarks)
        if world.gather(cache.is_complete(contents))[0]:  # the first process decides, or they would part ways
            return
        self.say(f"filling the cache in {cache.folder} ({len(cache)} entries are there)")
        flips = (False, True) if data.flip else (False,)
        views = [View(picture, flip) for picture in range(len(self.dataset)) for flip in flips]
        pictures = PictureDataset(self.dataset.source, self.dataset.names, self.geometry)
        share: Any = views[world.rank :: world.size]
        loader = DataLoader(pictures, 8, sampler=share, **self._loading())
        work = partial(fill, cache, inverter, loader, world.device, stopped)
        made = all_or_none(world, Path(self.config.run.dir) / "checkpoints", work)
        total, interrupted = sum(world.gather(made)), any(world.gather(stopped()))
        cache.reload()
        self.say(f"{total} entries made")
        if interrupted:
            raise StoppedError(f"the cache holds {len(cache)} entries")
        if world.leads:
            cache.mark_complete(contents)

    def left_out(self, problem: str) -> None:
        """Name an unreadable picture, once."""
        if problem not in self.known_problems:
            self.known_problems.add(problem)
            self.say(f"left out: {problem}")

    def _open(self, request: Request) -> PictureDataset:
        source, names, broken = open_source(request)
        for name, problem in sorted(broken.items()):
            self.left_out(f"{name}: {problem}")
        return PictureDataset(aligned(source, self.config.data.aligning, self.geometry), names, self.geometry)

    def _loading(self) -> dict[str, Any]:
        return {
            "num_workers": self.config.data.workers,
            "collate_fn": collate,
            "worker_init_fn": _calm_worker,
            "pin_memory": self.world.device.type == "cuda",
            "generator": torch.Generator().manual_seed(0),  # so that making workers draws nothing from ours
        }


def _calm_worker(index: int) -> None:
    """Loader processes leave Ctrl-C to the main process, and end on SIGTERM as processes do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
