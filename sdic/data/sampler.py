"""Which picture comes when: a fixed order for every (seed, epoch), from any sample on, over any number of processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch.utils.data import Sampler


def derive_seed(*words: object) -> int:
    """A seed in [0, 2**63) that depends on every word, and on nothing else."""
    text = "/".join(map(str, words)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "little") >> 1


class View(NamedTuple):
    """One way to look at a picture: its number in the data, and whether it is mirrored."""

    picture: int
    flip: bool


@dataclass
class EpochOrder:
    """The endless sequence of views of `count` pictures: every epoch a new permutation, every visit its own flip."""

    count: int
    seed: int
    flips: bool
    _epoch: int = -1
    _order: torch.Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))

    def __getitem__(self, sample: int) -> View:
        """The view at a place in the sequence (0 is the first of the first epoch)."""
        epoch, position = divmod(sample, self.count)
        if epoch != self._epoch:
            draw = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
            self._order = torch.randperm(self.count, generator=draw)
            self._epoch = epoch
        index = int(self._order[position])
        return View(index, self.flips and derive_seed(self.seed, "flip", epoch, index) % 2 == 1)


@dataclass(eq=False)
class ResumableSampler(Sampler[View]):
    """Views first + rank, first + rank + world, ... of an order, without end.

    first: how many samples all processes together have had already.
    """

    order: EpochOrder
    first: int = 0
    rank: int = 0
    world: int = 1

    def __iter__(self) -> Iterator[View]:
        sample = self.first + self.rank
        while True:
            yield self.order[sample]
            sample += self.world
