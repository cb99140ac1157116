"""Pictures as training samples, and samples as a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from sdic.data.folder import PictureSource
from sdic.data.sampler import View
from sdic.errors import ImageError
from sdic.types import Geometry
from sdic.utils.images import fit, to_tensor

Lookup = Callable[[str], dict[str, Tensor] | None]
"""What is on disk for a photo, by its digest; None where there is nothing."""


@dataclass
class Sample:
    """photo [3, H, W] in [-1, 1] at the input size. digest: hex sha256 of its pixels and of whether it is mirrored.
    stored: what a cache holds for it. problem: why another picture had to stand in, or an empty string."""

    name: str
    photo: Tensor
    digest: str
    stored: dict[str, Tensor] | None = None
    problem: str = ""


@dataclass
class Batch:
    """photo [B, 3, H, W] in [-1, 1]; the other fields are one entry a photo."""

    photo: Tensor
    names: list[str]
    digests: list[str] = field(default_factory=list)
    stored: list[dict[str, Tensor] | None] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        """The number of photos."""
        return len(self.photo)

    def pin_memory(self) -> Batch:
        """The same batch in memory that a GPU can fetch from by itself; the loader calls this."""
        return replace(self, photo=self.photo.pin_memory())

    def to(self, device: torch.device) -> Batch:
        """The same batch with its photos on a device (what is stored follows when it is used)."""
        return replace(self, photo=self.photo.to(device, non_blocking=True))


@dataclass(eq=False)
class PictureDataset(Dataset[Sample]):
    """View (picture, flip) -> Sample. Photos are brought to the input size exactly as for inversion.

    A picture that turns out to be damaged when it is decoded is replaced by the next readable one, always the same,
    so that the order of a run does not depend on when that was found out; `Sample.problem` says so.
    """

    source: PictureSource
    names: Sequence[str]
    geometry: Geometry
    lookup: Lookup | None = None

    def __len__(self) -> int:
        """The number of pictures."""
        return len(self.names)

    def __getitem__(self, view: View | int) -> Sample:
        index, flip = view if isinstance(view, tuple) else (view, False)
        problem = ""
        for step in range(len(self.names)):
            name = self.names[(index + step) % len(self.names)]
            try:
                picture, _ = fit(self.source.read(name), self.geometry)
            except ImageError as error:
                problem = problem or f"{name}: {error}"
                continue
            photo = to_tensor(picture)
            photo = photo.flip(-1).contiguous() if flip else photo
            digest = hashlib.sha256((b"mirrored" if flip else b"") + picture.tobytes()).hexdigest()
            stored = None if self.lookup is None else self.lookup(digest)
            return Sample(name, photo, digest, stored, problem)
        raise ImageError(f"none of {len(self.names)} pictures can be decoded; the first: {problem}")


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples -> one batch."""
    return Batch(
        torch.stack([sample.photo for sample in samples]),
        [sample.name for sample in samples],
        [sample.digest for sample in samples],
        [sample.stored for sample in samples],
        [sample.problem for sample in samples if sample.problem],
    )
