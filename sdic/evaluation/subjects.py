"""What is measured on: unseen portraits with the truth of their edits, or anybody's photos without it.

Shapes: M changes of an attribute, ascending; S side of the pictures; pictures are in [-1, 1] as an 8-bit file holds
them, so that rendered portraits and a folder of the same portraits give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from sdic.data.dataset import PictureDataset
from sdic.data.portraits import DETAIL_SWITCHES, PortraitParams, field_spec, render, split_params, split_seeds
from sdic.data.portraits.law import LAW
from sdic.data.sources import Request, open_source
from sdic.errors import SdicError
from sdic.evaluation.domains import Changes
from sdic.types import Geometry

CHUNK = 16  # portraits drawn at once: enough to be fast, few enough that their truths fit into memory


@dataclass(frozen=True)
class Truth:
    """An attribute moved, all else equal. changes [M]: how far. sign: 1 or -1, which way. values [M]: where to.
    pictures [M, 3, S, S]: the portraits; bare [M, 3, S, S]: the same without details."""

    changes: tuple[float, ...]
    sign: int
    values: Tensor
    pictures: Tensor
    bare: Tensor


@dataclass(frozen=True)
class Subject:
    """One picture. key: tells it from others in a journal. photo [1, 3, S, S]. truths: by attribute, where asked."""

    key: str
    photo: Tensor
    truths: dict[str, Truth] = field(default_factory=dict)


class Subjects(Protocol):
    """identity: which pictures these are, apart from how many. keys: theirs, in order; of photos those read so far.
    problems: what could not be read, and why."""

    identity: dict[str, Any]
    keys: list[str]
    problems: list[str]

    def __len__(self) -> int:
        """How many there are, unreadable ones included."""

    def read(self, wanted: Callable[[str], bool], edited: Callable[[str], bool]) -> Iterator[Subject]:
        """Those whose key is wanted, in order, each with its truths if it is to be edited."""


class Portraits:
    """The first portraits of a split, with details, drawn when they are needed. Truths for the changes given."""

    def __init__(self, split: str, count: int, size: int, changes: Changes, device: torch.device):
        self.keys = [str(seed) for seed in split_seeds(split, count)]
        self.params = split_params(split, count)
        self.size, self.changes, self.device = size, changes, device
        self.identity = {"portraits": split, "size": size, "law": LAW}
        self.problems: list[str] = []

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, wanted: Callable[[str], bool], edited: Callable[[str], bool]) -> Iterator[Subject]:
        """See `Subjects`."""
        places = [place for place, key in enumerate(self.keys) if wanted(key)]
        for first in range(0, len(places), CHUNK):
            chosen = places[first : first + CHUNK]
            photos = draw(self.params[chosen], self.size, self.device)
            moved = [place for place in chosen if self.changes and edited(self.keys[place])]
            truths = dict(zip(moved, self._truths(self.params[moved]), strict=True)) if moved else {}
            for row, place in enumerate(chosen):
                yield Subject(self.keys[place], photos[row : row + 1], truths.get(place, {}))

    def _truths(self, params: PortraitParams) -> list[dict[str, Truth]]:
        """Of each portrait, by attribute; all drawn together."""
        moved = [move(params, name, change) for name, changes in self.changes.items() for change in changes]
        every = PortraitParams.cat([part for part, _ in moved])
        pictures = draw(every, self.size, self.device).unflatten(0, (len(moved), len(params)))
        bare = draw(every.without_details(), self.size, self.device).unflatten(0, (len(moved), len(params)))
        truths: list[dict[str, Truth]] = [{} for _ in range(len(params))]
        first = 0
        for name, changes in self.changes.items():
            part = slice(first, first + len(changes))
            values = torch.stack([getattr(moved_params, name) for moved_params, _ in moved[part]])
            signs = moved[first][1]
            for row, found in enumerate(truths):
                found[name] = Truth(changes, int(signs[row]), values[:, row], pictures[part, row], bare[part, row])
            first = part.stop
        return truths

    def showcase(self, among: int, count: int) -> list[str]:
        """Keys of portraits with details that differ most: each adds the most kinds that those before lack."""
        among = min(among, len(self))
        kinds = [{name for name in DETAIL_SWITCHES if int(getattr(self.params, name)[i]) > 0} for i in range(among)]
        chosen: list[int] = []
        lacking = set(DETAIL_SWITCHES)
        while len(chosen) < min(count, among):
            rest = [i for i in range(among) if i not in chosen]
            best = max(rest, key=lambda i: (len(kinds[i] & lacking), len(kinds[i]), -i))
            chosen.append(best)
            lacking = lacking - kinds[best] or set(DETAIL_SWITCHES)
        return [self.keys[i] for i in chosen]


class Photos:
    """Pictures of a folder or zip, brought to the input size as for inversion."""

    def __init__(self, path: str, limit: int, geometry: Geometry, device: torch.device):
        source, names, broken = open_source(Request("auto", path, limit=limit))
        self.dataset = PictureDataset(source, names, geometry)
        self.device = device
        self.keys: list[str] = []
        self.identity = {"photos": "by their content", "size": list(geometry.input_size)}
        self.problems = [f"{name}: {problem}" for name, problem in broken.items()]

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, wanted: Callable[[str], bool], edited: Callable[[str], bool]) -> Iterator[Subject]:
        """See `Subjects`; there are no truths. SdicError at the end if nothing could be read."""
        self.keys = []
        for index in range(len(self.dataset)):
            sample = self.dataset[index]
            if sample.problem:  # another picture stands in, which will have its own turn
                self.problems.append(sample.problem)
                continue
            key = f"{sample.name} {sample.digest[:16]}"
            self.keys.append(key)
            if wanted(key):
                yield Subject(key, sample.photo[None].to(self.device))
        if not self.keys:
            raise SdicError(f"none of {len(self)} photos can be read; the first: {self.problems[0]}")


def draw(params: PortraitParams, size: int, device: torch.device) -> Tensor:
    """Portraits [N, 3, S, S] in the 256 levels that a picture file has."""
    return in_levels(render(params, size, device=device))


def in_levels(pictures: Tensor) -> Tensor:
    """Pictures in [-1, 1] with every value one of the 256 of a picture file."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def move(params: PortraitParams, name: str, change: float) -> tuple[PortraitParams, Sequence[int]]:
    """An attribute moved towards the middle of its range, where no change of `reach(name)` or less leaves it; the
    portraits, and the sign of each one's change."""
    spec = field_spec(name)
    value = getattr(params, name)
    sign = torch.where(value > (spec.low + spec.high) / 2, -1, 1)
    moved = (value + sign * change).clamp(spec.low, spec.high)  # against rounding at the very end
    return params.replace(**{name: moved}), sign.tolist()
