"""Codes and first reconstructions on disk, so that the largest frozen networks run once per photo.

Entries are found by the photo's content (its pixels, and whether it is mirrored), in a folder named by the networks'
weights, the input size and the arithmetic: nothing can be mistaken for something else, a changed photo is simply not
found. They lie in shards that appear whole or not at all; an interrupted build goes on where it stopped. An entry is
36 kB of code and, for "first_pass", 384 kB of picture in float16. A run with the cache computes on the rounded picture
whether it was found or not, so that what is found changes no number.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.data.dataset import Batch
from sdic.errors import ConfigError
from sdic.methods import Inverter
from sdic.utils.files import atomic_file, write_atomic

SHARD = 256  # entries
Entry = dict[str, Tensor]


class FirstPassCache:
    """A folder of entries. names: the results of a method's `frozen_pass` that an entry holds; pictures as float16."""

    def __init__(self, folder: str | os.PathLike[str], names: Sequence[str]):
        self.folder = Path(folder)
        self.names = tuple(names)
        self._places: dict[str, tuple[Path, int]] = {}
        self._open: dict[tuple[int, Path], Any] = {}
        self.reload()

    @classmethod
    def of(
        cls, root: str | os.PathLike[str], mode: str, inverter: Inverter, hashes: Mapping[str, str]
    ) -> FirstPassCache:
        """The cache below `root` of the frozen networks with these hashes. mode: "codes" (the first of what the method
        says is worth storing) or "first_pass" (all of it)."""
        if not inverter.stored:
            raise ConfigError(
                f"data.cache={mode}: {inverter.method} has nothing that could be kept; set data.cache=off"
            )
        size = "x".join(map(str, inverter.geometry.input_size))
        networks = "-".join(hashes[role][:12] for role in sorted(hashes))
        name = f"{networks}-{size}-{inverter.precision}-{mode}"
        return cls(Path(root) / name, inverter.stored[:1] if mode == "codes" else inverter.stored)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._places)

    def reload(self) -> None:
        """Find what is on disk now."""
        from safetensors import safe_open

        known = {path for path, _ in self._places.values()}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path not in known:
                with safe_open(str(path), framework="pt") as handle:
                    digests = json.loads((handle.metadata() or {})["digests"])
                self._places.update({digest: (path, row) for row, digest in enumerate(digests)})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def find(self, digest: str) -> Entry | None:
        """The entry of a photo, or None. Each process opens the shards for itself."""
        if digest not in self._places:
            return None
        from safetensors import safe_open

        path, row = self._places[digest]
        key = (os.getpid(), path)
        if key not in self._open:
            self._open[key] = safe_open(str(path), framework="pt")
        handle = self._open[key]
        return {name: handle.get_slice(name)[row] for name in handle.keys()}  # noqa: SIM118 - not a dict

    def write(self, entries: dict[str, Entry]) -> None:
        """Add a shard."""
        from safetensors.torch import save

        digests = sorted(entries)
        tensors = {name: _stacked([entries[digest][name] for digest in digests]) for name in entries[digests[0]]}
        name = hashlib.sha256("".join(digests).encode()).hexdigest()[:24]
        with atomic_file(self.folder / f"{name}.safetensors") as handle:
            handle.write(save(tensors, metadata={"digests": json.dumps(digests)}))

    def entries_of(self, results: Mapping[str, Tensor]) -> list[Entry]:
        """What is kept of a frozen pass, one entry a photo."""
        rows = [(value.half() if value.ndim == 4 else value).cpu() for value in map(results.__getitem__, self.names)]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*rows, strict=True)]

    def complete(self, inverter: Inverter, batch: Batch) -> dict[str, Tensor]:
        """The kept results of a batch, from its stored entries where it has them: what a frozen pass need not make."""
        entries = list(batch.stored) or [None] * len(batch)
        missing = [index for index, entry in enumerate(entries) if entry is None]
        if missing:
            made = self.entries_of(inverter.frozen_pass(batch.photo[missing]))
            for index, entry in zip(missing, made, strict=True):
                entries[index] = entry
        found = [entry for entry in entries if entry is not None]
        return {name: _stacked([entry[name] for entry in found]).to(batch.photo) for name in self.names}

    def is_complete(self, contents: object) -> bool:
        """Whether `mark_complete` was called for these contents (anything with a stable `repr`)."""
        return self._marker(contents).is_file()

    def mark_complete(self, contents: object) -> None:
        """Remember that every entry of these contents has been made, so that the next run need not look."""
        write_atomic(self._marker(contents), f"{len(self)} entries\n")

    def _marker(self, contents: object) -> Path:
        return self.folder / f"complete-{hashlib.sha256(repr(contents).encode()).hexdigest()[:24]}"


def _stacked(values: list[Tensor]) -> Tensor:
    """Kept values as one batch. Under autocast to bf16, torch would refuse to stack the pictures' half precision."""
    with torch.autocast("cpu", enabled=False):
        return torch.stack(values)


def fill(
    cache: FirstPassCache,
    inverter: Inverter,
    batches: Iterable[Batch],
    device: torch.device,
    stopped: Callable[[], bool],
) -> int:
    """Make the entries that are missing; returns how many. What is made so far is kept when `stopped()`."""
    fresh: dict[str, Entry] = {}
    count = 0
    for batch in batches:
        wanted = [i for i, digest in enumerate(batch.digests) if digest not in cache and digest not in fresh]
        if wanted:
            made = cache.entries_of(inverter.frozen_pass(batch.photo[wanted].to(device)))
            fresh.update({batch.digests[i]: entry for i, entry in zip(wanted, made, strict=True)})
            count += len(wanted)
        if len(fresh) >= SHARD:
            cache.write(fresh)
            fresh = {}
        if stopped():
            break
    if fresh:
        cache.write(fresh)
    return count
