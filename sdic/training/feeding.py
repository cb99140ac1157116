"""What a run eats: its pictures in their fixed order, the held-out ones, and the cache of the first pass."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from sdic.data.dataset import Batch, PictureDataset, collate
from sdic.data.sampler import EpochOrder, ResumableSampler, View
from sdic.data.sources import NEED_NO_PATH, Request, open_source
from sdic.errors import SdicError
from sdic.evaluation.metrics import Networks, metric
from sdic.training.cache import FirstPassCache, fill
from sdic.training.config import TrainConfig
from sdic.training.distributed import World
from sdic.training.journal import Journal
from sdic.training.stack import Stack
from sdic.training.state_files import keeping
from sdic.training.step import autocast


class Feed:
    """dataset: the training pictures. held_out: those of the validation, or None. cache: of the first pass, or None."""

    def __init__(self, config: TrainConfig, stack: Stack, networks: Networks, world: World, journal: Journal):
        self.config = config
        self.stack = stack
        self.world = world
        self.journal = journal
        self.known_problems: set[str] = set()
        self.cache: FirstPassCache | None = None
        data = config.data
        if data.cache != "off":
            root = Path(data.cache_dir) if data.cache_dir else Path(config.run.dir).parent / "cache"
            self.cache = FirstPassCache.for_stack(root, data.cache, stack, config.precision)
        self.dataset = self._open(Request(data.source, data.path, data.names, data.limit))
        self.dataset.lookup = None if self.cache is None else self.cache.find
        self.held_out: PictureDataset | None = None
        wanted = config.validation
        if wanted.every and (wanted.path or wanted.source in NEED_NO_PATH):
            for name in wanted.metrics:
                metric(name, networks)  # an error now rather than at the first validation
            self.held_out = self._open(Request(wanted.source, wanted.path, wanted.names, wanted.limit, "validation"))
        elif wanted.every:
            journal.say("no validation: validation.path is empty")

    def batches(self, first: int) -> Iterator[Batch]:
        """This process's micro-batches, without end, after all processes together have seen `first` samples."""
        config, world = self.config, self.world
        order = EpochOrder(len(self.dataset), config.run.seed, config.data.flip)
        sampler = ResumableSampler(order, first, world.rank, world.size)
        size = config.optim.batch // (world.size * config.optim.accumulate)
        for batch in DataLoader(self.dataset, size, sampler=sampler, **self._loading()):  # type: ignore[arg-type]
            for problem in batch.problems:
                self.left_out(problem)
            yield batch

    def fill(self, cache: FirstPassCache, stopped: Callable[[], bool]) -> None:
        """Make the cache's missing entries, every process its share."""
        data, world = self.config.data, self.world
        contents = (data.source, str(Path(data.path).absolute()), tuple(self.dataset.names), data.flip)
        if world.gather(cache.is_complete(contents))[0]:  # the first process decides, or they would part ways
            return
        self.journal.say(f"filling the cache in {cache.folder} ({len(cache)} entries are there)")
        flips = (False, True) if data.flip else (False,)
        views = [View(picture, flip) for picture in range(len(self.dataset)) for flip in flips]
        pictures = PictureDataset(self.dataset.source, self.dataset.names, self.stack.geometry)
        share: Any = views[world.rank :: world.size]
        loader = DataLoader(pictures, 8, sampler=share, **self._loading())
        made, problem = 0, ""
        try:
            with autocast(world.device, self.config.precision), keeping(Path(self.config.run.dir) / "checkpoints"):
                made = fill(cache, self.stack, loader, world.device, stopped)
        except SdicError as error:
            problem = str(error)
        world.end_if(problem)
        total, interrupted = sum(world.gather(made)), any(world.gather(stopped()))
        cache.reload()
        if world.leads and not interrupted:
            cache.mark_complete(contents)
        self.journal.say(f"{total} entries made")

    def _open(self, request: Request) -> PictureDataset:
        source, names, broken = open_source(request)
        for name, problem in sorted(broken.items()):
            self.left_out(f"{name}: {problem}")
        return PictureDataset(source, names, self.stack.geometry)

    def left_out(self, problem: str) -> None:
        """Tell of an unreadable picture, once."""
        if problem not in self.known_problems:
            self.known_problems.add(problem)
            self.journal.say(f"left out: {problem}")

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
