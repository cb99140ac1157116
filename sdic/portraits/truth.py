"""Portraits that nothing was trained on, with the truth of their edits, for the evaluation (`sdic.domains`).

Shapes: N portraits; S side of the pictures, which are in [-1, 1] as an 8-bit file holds them, so that portraits drawn
here and a folder of the same portraits give the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from sdic.domains import Attribute, Changes, Picture, Truth
from sdic.errors import ConfigError
from sdic.types import Geometry
from sdic.utils.images import in_levels

from .law import LAW
from .params import DETAIL_SWITCHES, PortraitParams, field_spec
from .renderer.draw import render
from .splits import split_params, split_seeds

SPLIT = "test"
CHUNK = 16  # portraits drawn at once: enough to be fast, few enough that their truths fit into memory


def _attribute(name: str, unit: str, *changes: float) -> Attribute:
    spec = field_spec(name)
    return Attribute(unit, changes, (spec.high - spec.low) / 2)


class Portraits:
    """The first portraits of the test split, with details, drawn when they are used; see `sdic.domains.TruthSource`."""

    attributes = {  # noqa: RUF012 - read only
        "age": _attribute("age", "years", 20.0),
        "yaw": _attribute("yaw", "degrees", 5.0, 10.0, 20.0, 30.0),
        "smile": _attribute("smile", "of -1 to 1", 0.5),
    }

    def __init__(self, count: int, geometry: Geometry, changes: Changes, device: torch.device):
        self.keys = [str(seed) for seed in split_seeds(SPLIT, count)]
        self.params = split_params(SPLIT, count)
        self.size, self.changes, self.device = side(geometry), changes, device
        self.identity = {"portraits": SPLIT, "size": self.size, "law": LAW}
        self.problems: list[str] = []

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, wanted: Callable[[str], bool], edited: Callable[[str], bool]) -> Iterator[Picture]:
        """See `sdic.domains.Pictures`."""
        places = [place for place, key in enumerate(self.keys) if wanted(key)]
        for first in range(0, len(places), CHUNK):
            chosen = places[first : first + CHUNK]
            photos = draw(self.params[chosen], self.size, self.device)
            moved = [place for place in chosen if self.changes and edited(self.keys[place])]
            truths = dict(zip(moved, self._truths(self.params[moved]), strict=True)) if moved else {}
            for row, place in enumerate(chosen):
                yield Picture(self.keys[place], photos[row : row + 1], truths.get(place, {}))

    def _truths(self, params: PortraitParams) -> list[dict[str, Truth]]:
        """Of each portrait, by attribute; all drawn together."""
        moved = {name: [move(params, name, change) for change in changes] for name, changes in self.changes.items()}
        every = PortraitParams.cat([part for parts in moved.values() for part, _ in parts])
        shape, counts = (-1, len(params)), [len(parts) for parts in moved.values()]
        pictures, bare = (draw(p, self.size, self.device).unflatten(0, shape) for p in (every, every.without_details()))
        truths: list[dict[str, Truth]] = [{} for _ in range(len(params))]
        for (name, parts), drawn, plain in zip(moved.items(), pictures.split(counts), bare.split(counts), strict=True):
            values = torch.stack([getattr(part, name) for part, _ in parts])
            for row, sign in enumerate(parts[0][1]):
                truth = Truth(self.changes[name], sign, values[:, row], drawn[:, row], plain[:, row])
                truths[row][name] = truth
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

    @staticmethod
    def without_details(first: int, count: int, geometry: Geometry, device: torch.device) -> Tensor:
        """See `sdic.domains.TruthSource`."""
        return draw(split_params(SPLIT, count, first).without_details(), side(geometry), device)


def side(geometry: Geometry) -> int:
    """The side of pictures at the input size; ConfigError where they are not square, as portraits are."""
    height, width = geometry.input_size
    if height != width:
        raise ConfigError(f"portraits are square, and these models look at {height}x{width}")
    return height


def draw(params: PortraitParams, size: int, device: torch.device) -> Tensor:
    """Portraits [N, 3, S, S] in the 256 levels that a picture file has."""
    return in_levels(render(params, size, device=device))


def move(params: PortraitParams, name: str, change: float) -> tuple[PortraitParams, Sequence[int]]:
    """An attribute moved towards the middle of its range, where no change up to half of the range leaves it; the
    portraits, and the sign of each one's change."""
    spec = field_spec(name)
    value = getattr(params, name)
    sign = torch.where(value > (spec.low + spec.high) / 2, -1, 1)
    moved = (value + sign * change).clamp(spec.low, spec.high)  # against rounding at the very end
    return params.replace(**{name: moved}), sign.tolist()
