"""Codes and first reconstructions on disk, so that the largest frozen networks run once per photo.

Entries are found by the photo's content (its pixels, and whether it is mirrored), in a folder named by the networks'
weights, the input size and the arithmetic: nothing can be mistaken for something else, a changed photo is simply not
found. They lie in shards that appear whole or not at all; an interrupted build goes on where it stopped. A damaged
shard or entry is named and computed anew. An entry is 36 kB of code and, for "first_pass", 384 kB of picture in
float16. A run with the cache computes on the rounded picture whether it was found or not: finding it changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.data.dataset import Batch
from sdic.errors import ConfigError
from sdic.methods import Inverter
from sdic.utils.files import atomic_file, write_atomic

logger = logging.getLogger("sdic.training")
SHARD = 256  # entries
Entry = dict[str, Tensor]


class FirstPassCache:
    """A folder of entries. names: the results of a method's `frozen_pass` that an entry holds; pictures as float16."""

    def __init__(self, folder: str | os.PathLike[str], names: Sequence[str]):
        self.folder = Path(folder)
        self.names = tuple(names)
        self._places: dict[str, tuple[Path, int, int | None]] = {}  # with a checksum; earlier versions wrote none
        self._open: dict[tuple[int, Path], Any] = {}
        self._damaged = False
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
        """Find what is on disk now. Shards that cannot be read are deleted, and their entries made again."""
        from safetensors import SafetensorError, safe_open

        known = {path for path, _, _ in self._places.values()}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path in known:
                continue
            try:
                with safe_open(str(path), framework="pt") as handle:
                    about = handle.metadata() or {}
                sums = zip_longest(json.loads(about["digests"]), json.loads(about.get("sums", "[]")))
                self._places.update({digest: (path, row, total) for row, (digest, total) in enumerate(sums)})
            except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
                logger.warning("%s is damaged (%s); what it held is computed anew", path, error)
                self._damaged = True
                with contextlib.suppress(OSError):
                    path.unlink()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def __contains__(self, digest: str) -> bool:
        return digest in self._places

    def find(self, digest: str) -> Entry | None:
        """The entry of a photo, or None. Each process opens the shards for itself."""
        if digest not in self._places:
            return None
        from safetensors import safe_open

        path, row, total = self._places[digest]
        key = (os.getpid(), path)
        if key not in self._open:
            self._open[key] = safe_open(str(path), framework="pt")
        handle = self._open[key]
        entry = {name: handle.get_slice(name)[row] for name in handle.keys()}  # noqa: SIM118 - not a dict
        if total is not None and total != _sum(entry):
            logger.warning("%s: entry %d is damaged; it is computed anew each time (delete the file)", path, row)
            del self._places[digest]
            return None
        return entry

    def write(self, entries: dict[str, Entry]) -> None:
        """Add a shard."""
        from safetensors.torch import save

        digests = sorted(entries)
        tensors = {name: _stacked([entries[digest][name] for digest in digests]) for name in entries[digests[0]]}
        name = hashlib.sha256("".join(digests).encode()).hexdigest()[:24]
        sums = [_sum(entries[digest]) for digest in digests]
        with atomic_file(self.folder / f"{name}.safetensors") as handle:
            handle.write(save(tensors, metadata={"digests": json.dumps(digests), "sums": json.dumps(sums)}))

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
        return self._marker(contents).is_file() and not self._damaged

    def mark_complete(self, contents: object) -> None:
        """Remember that every entry of these contents has been made, so that the next run need not look."""
        self._damaged = False
        write_atomic(self._marker(contents), f"{len(self)} entries\n")

    def _marker(self, contents: object) -> Path:
        return self.folder / f"complete-{hashlib.sha256(repr(contents).encode()).hexdigest()[:24]}"


def _sum(entry: Entry) -> int:
    """A checksum of an entry."""
    value = 0
    for name in sorted(entry):
        value = zlib.crc32(entry[name].contiguous().numpy().data, value)
    return value


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
