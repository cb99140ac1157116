"""Pictures to train on: a domain's with what is known of them, as bytes in memory, or a user's own, which are read from
their files batch by batch where they are large.

Shapes: N pictures, B of a batch, R resolution, D width of z, P labels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdic.data.dataset import PictureDataset
from sdic.data.sampler import EpochOrder, ResumableSampler
from sdic.data.sources import SOURCES, Request, open_source
from sdic.domains import modules
from sdic.errors import UnknownNameError
from sdic.settings import require, setting
from sdic.types import Geometry

IN_MEMORY = 256  # the largest side at which a user's pictures are all kept in memory
READERS = 8  # threads that decode a batch


@dataclass
class SamplesConfig:
    """The pictures."""

    source: str = setting("portraits", "portraits renders them; folder, zip or auto reads those of `path`")
    path: str = setting("", "folder or zip of pictures")
    resolution: int = setting(64, "side in pixels")
    count: int = setting(20_000, "pictures in all (of a folder: the first so many; 0: all)")
    cache: str = setting("runs/portraits/cache", "folder for rendered pictures, shared by all runs; empty: none")
    chunk: int = setting(256, "pictures rendered at once and kept in one cache file")
    flip: bool = setting(False, "mirror at random (one's own pictures only)")

    def __post_init__(self) -> None:
        sources = [*modules("samples"), *SOURCES, "auto"]
        if self.source not in sources:
            raise UnknownNameError("data.source", self.source, sources)
        require(self.resolution >= 16, f"data.resolution must be at least 16, got {self.resolution}")
        require(self.count >= 0 and self.chunk >= 1, "data.count must not be negative, data.chunk at least 1")
        require(self.known or self.path != "", f"data.source={self.source} needs data.path=PICTURES")
        require(not (self.flip and self.known), f"data.flip would change what is known of {self.source} (yaw)")

    @property
    def known(self) -> bool:
        """Whether more is known of the pictures than themselves."""
        return self.source in modules("samples")


class FolderPictures:
    """A user's pictures, read from their files when they are asked for: `pictures[index]` is uint8 [B, 3, R, R] for
    index [B], on the device. What cannot be decoded is named once each, and the next picture stands in."""

    def __init__(self, dataset: PictureDataset, device: torch.device, say: Callable[[str], None]):
        self.dataset, self.device, self.say = dataset, device, say
        self._named: set[str] = set()
        self._readers = ThreadPoolExecutor(READERS)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Tensor) -> Tensor:
        samples = list(self._readers.map(self.dataset.__getitem__, index.tolist()))
        for problem in {sample.problem for sample in samples} - {""} - self._named:
            self._named.add(problem)
            self.say(f"left out, the next picture stands in: {problem}")
        pictures = torch.stack([sample.photo for sample in samples])
        return ((pictures + 1) * 127.5).round().clamp(0, 255).byte().to(self.device)


@dataclass
class SampleSet:
    """pictures: uint8 [N, 3, R, R], or what reads them. labels: float32 [N, P], what is known of each; [N, 0] for a
    user's pictures. z: [N, D], where pictures are of codes."""

    pictures: Tensor | FolderPictures
    labels: Tensor
    z: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Tensor, flip: Tensor | None = None) -> Tensor:
        """Pictures [B, 3, R, R] in [-1, 1]; mirrored where `flip` [B] says so."""
        picture = self.pictures[index].float() / 127.5 - 1
        return picture if flip is None else torch.where(flip[:, None, None, None], picture.flip(3), picture)

    def first(self, count: int) -> Tensor:
        """The first `count` pictures (fewer where there are fewer): [B, 3, R, R]."""
        return self.batch(torch.arange(min(count, len(self)), device=self.pictures.device))

    @torch.no_grad()
    def through(self, network: Callable[[Tensor], Tensor]) -> Tensor:
        """What a network in eval mode makes of all pictures, in batches: [N, ...]."""
        return torch.cat([network(self.batch(index)) for index in self.places(64)])

    def places(self, batch: int) -> tuple[Tensor, ...]:
        """The indices of all pictures, in batches."""
        return torch.arange(len(self), device=self.pictures.device).split(batch)


@dataclass
class Places:
    """A micro-batch of a set: index [B], flip [B]."""

    index: Tensor
    flip: Tensor

    @property
    def names(self) -> list[str]:
        """For messages."""
        return [f"picture {place}" for place in self.index.tolist()]


def endless(
    samples: SampleSet, seed: int, flip: bool, first: int, rank: int, world: int, size: int
) -> Iterator[Places]:
    """Micro-batches of `size` places for one of `world` processes, after all of them have had `first` pictures; every
    epoch is a new permutation."""
    views = iter(ResumableSampler(EpochOrder(len(samples), seed, flip), first, rank, world))
    device = samples.pictures.device
    while True:
        chosen = [next(views) for _ in range(size)]
        index = torch.tensor([view.picture for view in chosen], dtype=torch.int64, device=device)
        yield Places(index, torch.tensor([view.flip for view in chosen], dtype=torch.bool, device=device))


def open_samples(
    config: SamplesConfig,
    count: int,
    device: torch.device,
    recipe: dict[str, Any],
    rank: int = 0,
    world: int = 1,
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> SampleSet:
    """`count` pictures of a domain by its recipe, or the user's, on a device. Several processes may share the drawing.

    A user's pictures of up to IN_MEMORY px are read once and kept; larger ones are read again for every batch: a
    thousand of 1024 px would take 3 GB. What cannot be read is named, and left out. ConfigError for none. Where
    `stopped()` before a domain's pictures are all drawn, fewer come back.
    """
    if config.known:
        require(count >= 1, f"data.count must be at least 1 for {config.source}")
        module = importlib.import_module(modules("samples")[config.source])
        return module.open_samples(config, count, device, recipe, rank, world, stopped, say)
    source, names, broken = open_source(Request(config.source, config.path, limit=config.count))
    for name, problem in broken.items():
        say(f"left out: {name}: {problem}")
    size = config.resolution
    pictures = FolderPictures(PictureDataset(source, names, Geometry(size, (size, size))), device, say)
    none = torch.empty(len(pictures), 0, device=device)
    if size > IN_MEMORY:
        return SampleSet(pictures, none)
    kept = torch.empty(len(pictures), 3, size, size, dtype=torch.uint8, device=device)
    for index in torch.arange(len(pictures)).split(64):
        kept[index] = pictures[index]
    return SampleSet(kept, none)
