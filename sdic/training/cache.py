"""e4e's codes and the first reconstructions on disk, so that the largest frozen networks run once per photo.

Entries are found by the photo's content (its pixels, and whether it is mirrored), in a folder named by the networks'
weights, the input size and the arithmetic: nothing can be mistaken for something else, a changed photo is simply not
found. They lie in shards that appear whole or not at all; an interrupted build goes on where it stopped. A damaged
shard or entry is named and computed anew. An entry is 36 kB of code and, for "first_pass", 384 kB of picture in
float16. A run with the cache computes on the rounded picture whether it was found or not, so that what is found changes
no number.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.data.dataset import Batch
from sdic.training.stack import Stack
from sdic.training.step import FirstPass, first_pass
from sdic.utils.files import atomic_file, write_atomic

logger = logging.getLogger("sdic.training")
SHARD = 256  # entries
Entry = dict[str, Tensor]


class FirstPassCache:
    """A folder of entries. mode: "codes" {latent [L, D]}, or "first_pass" {latent, initial [3, H, W] float16}."""

    def __init__(self, folder: str | os.PathLike[str], mode: str):
        self.folder = Path(folder)
        self.mode = mode
        self._places: dict[str, tuple[Path, int]] = {}
        self._sums: dict[str, int] = {}  # of entries; shards of earlier versions have none
        self._open: dict[tuple[int, Path], Any] = {}
        self._damaged = False
        self.reload()

    @classmethod
    def for_stack(cls, root: str | os.PathLike[str], mode: str, stack: Stack, precision: str) -> FirstPassCache:
        """The cache of these networks below `root`."""
        size = "x".join(map(str, stack.geometry.input_size))
        name = f"{stack.hashes['encoder'][:12]}-{stack.hashes['generator'][:12]}-{size}-{precision}-{mode}"
        return cls(Path(root) / name, mode)

    def __len__(self) -> int:
        """The number of entries."""
        return len(self._places)

    def reload(self) -> None:
        """Find what is on disk now. Shards that cannot be read are deleted, and their entries made again."""
        from safetensors import SafetensorError, safe_open

        known = {path for path, _ in self._places.values()}
        for path in sorted(self.folder.glob("*.safetensors")):
            if path in known:
                continue
            try:
                with safe_open(str(path), framework="pt") as handle:
                    about = handle.metadata() or {}
                digests, sums = json.loads(about["digests"]), json.loads(about.get("sums", "[]"))
                self._places.update({digest: (path, row) for row, digest in enumerate(digests)})
                self._sums.update(zip(digests, sums, strict=False))
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

        path, row = self._places[digest]
        key = (os.getpid(), path)
        if key not in self._open:
            self._open[key] = safe_open(str(path), framework="pt")
        handle = self._open[key]
        entry = {name: handle.get_slice(name)[row] for name in handle.keys()}  # noqa: SIM118 - not a dict
        if self._sums.get(digest, _sum(entry)) != _sum(entry):
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

    def entries_of(self, first: FirstPass) -> list[Entry]:
        """What is kept of a first pass, one entry a photo."""
        entries: list[Entry] = [{"latent": latent} for latent in first.latent.cpu()]
        if self.mode == "first_pass":
            for entry, initial in zip(entries, first.initial.half().cpu(), strict=True):
                entry["initial"] = initial
        return entries

    def first_pass(self, stack: Stack, batch: Batch) -> FirstPass:
        """The first pass of a batch, from its stored entries where it has them."""
        entries = list(batch.stored) or [None] * len(batch)
        missing = [index for index, entry in enumerate(entries) if entry is None]
        if missing:
            made = self.entries_of(first_pass(stack, batch.photo[missing]))
            for index, entry in zip(missing, made, strict=True):
                entries[index] = entry
        columns = {
            name: _stacked([entry[name] for entry in entries if entry is not None]).to(batch.photo)
            for name in ("latent", "initial")
            if name == "latent" or self.mode == "first_pass"
        }
        return first_pass(stack, batch.photo, latent=columns["latent"], initial=columns.get("initial"))

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
    cache: FirstPassCache, stack: Stack, batches: Iterable[Batch], device: torch.device, stopped: Callable[[], bool]
) -> int:
    """Make the entries that are missing; returns how many. What is made so far is kept when `stopped()`."""
    fresh: dict[str, Entry] = {}
    count = 0
    for batch in batches:
        wanted = [i for i, digest in enumerate(batch.digests) if digest not in cache and digest not in fresh]
        if wanted:
            made = cache.entries_of(first_pass(stack, batch.photo[wanted].to(device)))
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
