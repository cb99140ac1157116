"""Rendered portraits to train on, with what is known of them, as bytes in memory.

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
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from sdic.data.sampler import derive_seed
from sdic.data.samples import SamplesConfig, SampleSet
from sdic.portraits import (
    DETAIL_SWITCHES,
    VECTOR_SIZE,
    PortraitParams,
    params_to_vector,
    render,
    sample_params,
    split_params,
)
from sdic.portraits.law import LAW, portrait_of
from sdic.portraits.splits import get_split
from sdic.utils.files import write_atomic

LABELS = VECTOR_SIZE + len(DETAIL_SWITCHES)
MOMENTS = 5_000_000  # from this place in a split on, seeds are used for what surrounds a person, not for people


@dataclass(frozen=True)
class Recipe:
    """What a set of portraits shows.

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
        return sample_params(people, detailed, nuisance_seeds=moments, held_out=split.held_out, device=device)

    def folder(self, cache: Path) -> Path:
        """Where its chunks are kept."""
        # What seeds become, other than codes, depends on the law's number: pictures of an older one are not read.
        decides = asdict(self) if self.kind == "codes" else {**asdict(self), "law": LAW}
        digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]
        return cache / f"{self.kind}-{self.split}-{self.resolution}px-{digest}"


def labels_of(params: PortraitParams) -> Tensor:
    """[N, LABELS]: `params_to_vector` of the portraits without details, then 1 or 0 for each of DETAIL_SWITCHES."""
    switches = torch.stack([(getattr(params, name) > 0).float() for name in DETAIL_SWITCHES], 1)
    return torch.cat([params_to_vector(params.without_details()), switches], 1)


def render_samples(
    recipe: Recipe,
    count: int,
    device: torch.device,
    cache: str = "",
    stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = print,
) -> SampleSet:
    """At least `count` portraits (whole chunks), on the device. Chunks in the cache are read, others drawn and kept.

    Where `stopped()` before all are drawn, those of the chunks so far come back.
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
        found = None if folder is None else _read(folder / f"{index:05d}.npz")
        if found is None:
            if stopped():
                return SampleSet(pictures[: part.start], labels[: part.start])
            found = draw_chunk(recipe, index, device, folder)
            drawn += recipe.chunk
            if drawn // recipe.chunk % 20 == 0:
                rate = drawn / (time.monotonic() - began)
                say(f"drawn {part.stop} of {len(pictures)} {recipe.kind}: {rate:.0f} images/s")
        pictures[part], labels[part] = found[0].to(device), found[1].to(device)
    z = torch.cat([recipe.codes(index) for index in range(chunks)]).to(device) if recipe.kind == "codes" else None
    return SampleSet(pictures, labels, z)


def draw_chunk(recipe: Recipe, index: int, device: torch.device, folder: Path | None) -> tuple[Tensor, Tensor]:
    """Pictures and labels of a chunk, drawn, and kept in the folder if there is one."""
    params = recipe.params(index, device)
    chunk = ((render(params, recipe.resolution) + 1) * 127.5).round().clamp(0, 255).byte(), labels_of(params)
    if folder is not None:
        buffer = io.BytesIO()
        np.savez(buffer, pictures=chunk[0].cpu().numpy(), labels=chunk[1].cpu().numpy())
        write_atomic(folder / f"{index:05d}.npz", buffer.getvalue())
    return chunk


def open_samples(
    config: SamplesConfig,
    count: int,
    device: torch.device,
    recipe: dict[str, Any],
    rank: int,
    world: int,
    stopped: Callable[[], bool],
    say: Callable[[str], None],
) -> SampleSet:
    """Portraits of a recipe: see `data.samples.open_samples`. With a cache each process draws its share of the chunks
    first."""
    wanted = Recipe(resolution=config.resolution, **{"chunk": config.chunk, **recipe})
    if world > 1 and config.cache:
        folder = wanted.folder(Path(config.cache))
        for index in range(rank, max(1, -(-count // wanted.chunk)), world):
            if not stopped() and _read(folder / f"{index:05d}.npz") is None:
                draw_chunk(wanted, index, device, folder)
        dist.barrier()
    return render_samples(wanted, count, device, config.cache, stopped, say)


def _read(path: Path) -> tuple[Tensor, Tensor] | None:
    """The chunk, or None where the file is not there or damaged (it is then drawn again)."""
    try:
        with np.load(path, allow_pickle=False) as content:
            return torch.from_numpy(content["pictures"]), torch.from_numpy(content["labels"])
    except (OSError, ValueError, KeyError, EOFError):
        return None
