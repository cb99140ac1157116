"""How sure a mean over pictures is: bootstrap intervals (Efron 1979), and those of differences picture by picture.

The pictures are drawn anew, with replacement, as many as there are; the interval holds the middle 95% of the means of
such draws (percentile bootstrap). Every number is drawn with the same pictures, so a difference of two methods is
paired: what makes a picture hard for both does not count.

Shapes: R resamples, N pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

RESAMPLES, COVERAGE, SEED = 2000, 0.95, 0
Interval = tuple[float, float]


@lru_cache(maxsize=2)
def _draws(count: int) -> Any:
    """[R, N]: how often each picture is in each resample; always the same for as many pictures."""
    return np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float32)


def interval(values: Sequence[Any]) -> Interval | None:
    """(low, high) of the mean of a number a picture; entries that are no finite numbers are left out of every mean.

    None for fewer than two numbers.
    """
    numbers = _numbers(values)
    known = np.isfinite(numbers)
    if known.sum() < 2:
        return None
    draws = _draws(len(numbers))[:, known]
    counts = draws.sum(1)
    means = (draws @ numbers[known])[counts > 0] / counts[counts > 0]
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)


def difference(first: Sequence[Any], other: Sequence[Any]) -> tuple[float, float, float] | None:
    """(mean, low, high) of other - first, picture by picture; a picture counts where both have a number.

    None for fewer than two such pictures.
    """
    apart = _numbers(other) - _numbers(first)
    found = interval(apart.tolist())
    return None if found is None else (float(apart[np.isfinite(apart)].mean()), *found)


def _numbers(values: Sequence[Any]) -> Any:
    """float64 [N]; NaN for what is no finite number."""
    kept = [value if isinstance(value, float | int) and math.isfinite(value) else math.nan for value in values]
    return np.array(kept, dtype=np.float64)
