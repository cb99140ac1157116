"""Soft random pictures drawn from a seed: something to train on where there are no files."""

from __future__ import annotations

import numpy as np
from PIL import Image


class SyntheticSource:
    """`count` pictures of `size` px: a coarse random field, enlarged smoothly. Picture i depends on (seed, i) alone."""

    def __init__(self, count: int, seed: int = 0, size: int = 64, prefix: str = "synthetic"):
        self.seed = seed
        self.size = size
        self.unread: dict[str, str] = {}
        self.names = [f"{prefix}-{index:05d}" for index in range(count)]

    def read(self, name: str) -> Image.Image:
        index = int(name.rsplit("-", 1)[1])
        draw = np.random.default_rng([self.seed, index])
        coarse = draw.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((self.size, self.size), Image.Resampling.BICUBIC)

    def check(self, name: str) -> str:
        return ""
