"""Which seeds belong to which data set. The ranges are disjoint, so nobody in a test picture was ever trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from sdic.errors import ConfigError, UnknownNameError

from .params import PortraitParams
from .sampling import sample_params


@dataclass(frozen=True)
class Split:
    """A range of seeds and how details occur in it.

    ``first`` is its first seed and ``size`` how many it has; ``detail_share`` of its pictures carry details;
    ``held_out`` says whether those are combinations kept for validation and test.
    """

    name: str
    first: int
    size: int
    detail_share: float
    held_out: bool
    doc: str


SPLITS: dict[str, Split] = {
    split.name: split
    for split in (
        Split("generator", 0, 10_000_000, 0.0, False, "the generator's domain: no details"),
        Split("inversion", 10_000_000, 10_000_000, 0.65, False, "training encoders: details at random"),
        Split("validation", 20_000_000, 1_000_000, 0.65, True, "new people, unseen combinations of details"),
        Split("test", 21_000_000, 1_000_000, 0.65, True, "other new people, unseen combinations of details"),
    )
}


def get_split(name: str) -> Split:
    """The split of that name; UnknownNameError (with a suggestion) when there is none."""
    try:
        return SPLITS[name]
    except KeyError:
        raise UnknownNameError("portrait split", name, SPLITS) from None


def split_seeds(name: str, count: int, start: int = 0) -> range:
    """Seeds of `count` portraits of a split from number `start` on; ConfigError outside the split."""
    split = get_split(name)
    if count < 1 or start < 0 or start + count > split.size:
        raise ConfigError(f"{name} has portraits 0..{split.size - 1}; asked for {count} from {start} on")
    return range(split.first + start, split.first + start + count)


def split_params(name: str, count: int, start: int = 0, device: torch.device | str = "cpu") -> PortraitParams:
    """Parameters of `count` portraits of a split from number `start` on.

    A portrait depends on the split and its number only. Raises UnknownNameError and ConfigError.
    """
    split = get_split(name)
    seeds = split_seeds(name, count, start)
    detailed = [float(np.random.default_rng([seed, 3]).uniform()) < split.detail_share for seed in seeds]
    return sample_params(seeds, detailed, held_out=split.held_out, device=device)
