"""Anybody's photos to measure on: pictures of a folder or zip, without truths. See `sdic.domains.Pictures`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from sdic.data.dataset import PictureDataset
from sdic.data.sources import Request, open_source
from sdic.domains import Picture
from sdic.errors import SdicError
from sdic.faces.finding import Aligner, AlignSettings
from sdic.faces.source import aligned
from sdic.types import Geometry


class Photos:
    """Pictures of a folder or zip, brought to the input size as for inversion, and to that of `large`, if given; raw
    photos are aligned if asked for."""

    def __init__(
        self,
        path: str,
        limit: int,
        geometry: Geometry,
        device: torch.device,
        large: Geometry | None = None,
        align: AlignSettings | None = None,
    ):
        source, names, broken = open_source(Request("auto", path, limit=limit))
        align = align or AlignSettings("never")
        self.dataset = PictureDataset(aligned(source, align, geometry), names, geometry)
        self.large = None if large is None else PictureDataset(aligned(source, align, large), names, large)
        self.device = device
        self.keys: list[str] = []
        self.identity: dict[str, Any] = {"photos": "by their content", "size": list(geometry.input_size)}
        self.identity |= {} if align.align == "never" else {"align": Aligner(align).identity()}
        self.problems = [f"{name}: {problem}" for name, problem in broken.items()]

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, wanted: Callable[[str], bool], edited: Callable[[str], bool]) -> Iterator[Picture]:
        """See `sdic.domains.Pictures`. SdicError at the end if nothing could be read."""
        self.keys = []
        for index in range(len(self.dataset)):
            sample = self.dataset[index]
            if sample.problem:  # another picture stands in, which will have its own turn
                self.problems.append(sample.problem)
                continue
            key = f"{sample.name} {sample.digest[:16]}"
            self.keys.append(key)
            if wanted(key):
                large = None if self.large is None else self.large[index].photo[None].to(self.device)
                yield Picture(key, sample.photo[None].to(self.device), large=large)
        if not self.keys:
            raise SdicError(f"none of {len(self)} photos can be read; the first: {self.problems[0]}")
