"""Pictures to train on, as bytes in memory: rendered portraits with what is known of them, or a user's own.

Rendering costs more than a training step, so portraits are drawn once, in chunks that are each one cache file, and
every stage that wants the same ones reads them. Chunk i depends on the recipe and i alone.

Shapes: N pictures, R resolution, D width of z, P labels.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sdic.data.dataset import PictureDataset
from sdic.data.portraits import (
    DETAIL_SWITCHES,
    VECTOR_SIZE,
    PortraitParams,
    params_to_vector,
    render,
    sample_params,
    split_params,
)
from sdic.data.portraits.law import LAW, portrait_of
from sdic.data.portraits.splits import get_split
from sdic.data.sampler import derive_seed
from sdic.data.sources import Request, open_source
from sdic.errors import ConfigError
from sdic.pretraining.config import DataConfig
from sdic.types import Geometry
from sdic.utils.files import write_atomic

LABELS = VECTOR_SIZE + len(DETAIL_SWITCHES)
MOMENTS = 5_000_000  # from this place in a split on, seeds are used for what surrounds a person, not for people
Say = Callable[[str], None]


class OutOfTimeError(Exception):
    """The run's minutes are over before its pictures are drawn; what is drawn is kept."""


@dataclass(frozen=True)
class Recipe:
    """What a rendered bank shows.

    kind "codes": portrait_of(z) for z [N, D] from a seed, without details: the generator's domain.
    kind "split": the first portraits of a split. kind "people": of a split's people, each `views` times in a row,
    otherwise at random (pose, smile, age, light, clothes, details).
    """

    kind: str
    resolution: int
    chunk: int
    style_dim: int = 0
    split: str = "inversion"
    views: int = 1

    def codes(self, index: int) -> Tensor:
        """z [chunk, D] of a chunk of kind "codes", on the CPU."""
        draw = torch.Generator().manual_seed(derive_seed("bank", self.split, index))
        return torch.randn(self.chunk, self.style_dim, generator=draw)

    def params(self, index: int, device: torch.device) -> PortraitParams:
        """The portraits of a chunk."""
        if self.kind == "codes":
            return portrait_of(self.codes(index).to(device))
        first = index * self.chunk
        if self.kind == "split":
            return split_params(self.split, self.chunk, first, device)
        split = get_split(self.split)
        places = range(first, first + self.chunk)
        people = [split.first + place // self.views for place in places]
        moments = [split.first + MOMENTS + place for place in places]
        draw = torch.Generator().manual_seed(derive_seed("details", self.split, index))
        detailed = (torch.rand(self.chunk, generator=draw) < split.detail_share).tolist()
        parts, order = [], []
        for flag in (False, True):
            chosen = [place for place, value in enumerate(detailed) if value == flag]
            if chosen:
                who, when = [people[i] for i in chosen], [moments[i] for i in chosen]
                parts.append(sample_params(who, flag, nuisance_seeds=when, held_out=split.held_out, device=device))
                order += chosen
        return PortraitParams.cat(parts)[torch.tensor(order).argsort()]

    def folder(self, cache: Path) -> Path:
        """Where its chunks are kept."""
        # What seeds become, other than codes, depends on the law's number: pictures of an older one are not read.
        decides = asdict(self) if self.kind == "codes" else {**asdict(self), "law": LAW}
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]
        return cache / f"{self.kind}-{self.split}-{self.resolution}px-{digest}"


@dataclass
class Bank:
    """pictures: uint8 [N, 3, R, R]. labels: float32 [N, P], `params_to_vector` of the portrait without its details,
    then 1 or 0 for each of DETAIL_SWITCHES; empty [N, 0] for a user's pictures. z: [N, D] where portraits come from
    codes."""

    pictures: Tensor
    labels: Tensor
    z: Tensor | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Tensor, flip: bool = False) -> Tensor:
        """Pictures [B, 3, R, R] in [-1, 1]; each is mirrored with probability 1/2 if `flip`."""
        picture = self.pictures[index].float() / 127.5 - 1
        if flip:
            mirrored = torch.rand(len(picture), device=picture.device) < 0.5
            picture = torch.where(mirrored[:, None, None, None], picture.flip(3), picture)
        return picture

    def draw(self, count: int) -> Tensor:
        """Random indices [count], from the device's random state."""
        return torch.randint(len(self), (count,), device=self.pictures.device)


def labels_of(params: PortraitParams) -> Tensor:
    """[N, LABELS], see `Bank.labels`."""
    switches = torch.stack([(getattr(params, name) > 0).float() for name in DETAIL_SWITCHES], 1)
    return torch.cat([params_to_vector(params.without_details()), switches], 1)


def render_bank(
    recipe: Recipe, count: int, device: torch.device, cache: str = "", deadline: float = 0.0, say: Say = print
) -> Bank:
    """At least `count` portraits (whole chunks), on the device. Chunks in the cache are read, others drawn and kept.

    deadline: `time.monotonic()` at which OutOfTimeError is raised, 0 for never.
    """
    chunks = max(1, -(-count // recipe.chunk))
    folder = recipe.folder(Path(cache)) if cache else None
    pictures = torch.empty(
        chunks * recipe.chunk, 3, recipe.resolution, recipe.resolution, dtype=torch.uint8, device=device
    )
    labels = torch.empty(len(pictures), LABELS, device=device)
    began, drawn = time.monotonic(), 0
    for index in range(chunks):
        part = slice(index * recipe.chunk, (index + 1) * recipe.chunk)
        path = None if folder is None else folder / f"{index:05d}.npz"
        found = None if path is None or not path.is_file() else _read(path)
        if found is None:
            if deadline and time.monotonic() > deadline:
                raise OutOfTimeError(f"{index} of {chunks} chunks of pictures are drawn")
            params = recipe.params(index, device)
            found = (((render(params, recipe.resolution) + 1) * 127.5).round().clamp(0, 255).byte(), labels_of(params))
            drawn += recipe.chunk
            if path is not None:
                _write(path, *found)
            if drawn // recipe.chunk % 20 == 0:
                rate = drawn / (time.monotonic() - began)
                say(f"drawn {part.stop} of {len(pictures)} {recipe.kind}: {rate:.0f} images/s")
        pictures[part], labels[part] = found[0].to(device), found[1].to(device)
    z = torch.cat([recipe.codes(index) for index in range(chunks)]).to(device) if recipe.kind == "codes" else None
    return Bank(pictures, labels, z)


def folder_bank(config: DataConfig, device: torch.device) -> Bank:
    """A user's pictures, cropped and scaled to squares as for inversion, on the device."""
    source, names, _ = open_source(Request(config.source, config.path, limit=config.count))
    size = config.resolution
    dataset = PictureDataset(source, names, Geometry(size, (size, size)))
    pictures = torch.empty(len(dataset), 3, size, size, dtype=torch.uint8)
    for index in range(len(dataset)):
        pictures[index] = ((dataset[index].photo + 1) * 127.5).round().clamp(0, 255).byte()
    return Bank(pictures.to(device), torch.empty(len(pictures), 0, device=device))


def open_bank(
    config: DataConfig, recipe: Recipe, count: int, device: torch.device, deadline: float = 0.0, say: Say = print
) -> Bank:
    """`count` portraits of a recipe, or the user's pictures where `data.source` says so. ConfigError for none."""
    if config.source != "portraits":
        return folder_bank(config, device)
    if count < 1:
        raise ConfigError("data.count must be at least 1 for portraits")
    return render_bank(recipe, count, device, config.cache, deadline, say)


def _write(path: Path, pictures: Tensor, labels: Tensor) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, pictures=pictures.cpu().numpy(), labels=labels.cpu().numpy())
    write_atomic(path, buffer.getvalue())


def _read(path: Path) -> tuple[Tensor, Tensor] | None:
    """The chunk, or None where the file is damaged (it is then drawn again)."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return torch.from_numpy(content["pictures"]), torch.from_numpy(content["labels"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
