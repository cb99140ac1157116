"""Codes without photos: what other tools save (`latents.pt`, `codes.npy`), and what `--save-latents` writes.

Shapes: N codes, L latent rows, D style width.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdic.editing.directions import read_arrays
from sdic.errors import CheckpointError
from sdic.runner.inputs import Item
from sdic.utils.files import write_atomic
from sdic.utils.images import SUFFIXES as PICTURES
from sdic.utils.text import printable

SUFFIXES = (".pt", ".pth", ".npy", ".npz")
MOST = 1_000_000  # codes in a file
LARGEST = 1 << 20  # numbers in a code; StyleGAN2's largest has 18 x 512


@dataclass(frozen=True)
class CodeItem(Item):
    """One code of a file: code [L, D], or [1, D] for the same in every row."""

    code: Tensor = field(default_factory=lambda: torch.empty(0, 0), compare=False)

    def values(self) -> Tensor:
        """The code as float32; CheckpointError where it holds values that are not finite."""
        code = self.code.detach().to(torch.float32).contiguous()
        if not torch.isfinite(code).all():
            raise CheckpointError("the code holds values that are not finite")
        return code

    def digest(self, max_pixels: int) -> str:
        """Hex sha256 of the code."""
        code = self.values()
        return hashlib.sha256(f"{list(code.shape)}".encode() + code.numpy().tobytes()).hexdigest()


def holds_codes(path: Path) -> bool:
    """Whether a file may hold codes, by its ending."""
    return path.suffix.lower() in SUFFIXES


def codes_in(path: Path) -> list[Item]:
    """Every code of a file, each an item of its own; a file that cannot be read is one item that says why.

    Understood are tensors [L, D], [N, L, D] and [N, 1, L, D], [D] and [1, D] for codes of W, and lists or dicts of
    these (name -> code, or name -> {"latent": code}). Nothing in the file is executed.
    """
    try:
        found = list(_codes(read_arrays(path), ""))
    except CheckpointError as error:
        reason = str(error).removeprefix(f"{path}: ")
        remedy = "; a dict is read from numpy.savez(FILE, **codes)" if "array of object" in reason else ""
        return [Item(path, path.name, path.stem, reason + remedy)]
    shapes = {tuple(code.shape) for _, code in found if isinstance(code, Tensor)}
    if len(shapes) != 1:  # the weights of a network are tensors too
        what = f"tensors of {len(shapes)} shapes" if shapes else "none"
        reason = f"no codes: these are tensors [18, 512], or a dict of names with one each, and the file holds {what}"
        return [Item(path, path.name, path.stem, reason)]
    items: list[Item] = []
    for name, code in found:
        label = f"{path.name}#{name}" if name else path.name
        stem = name if name.strip("0123456789-") else "-".join(filter(None, (path.stem, name)))
        if isinstance(code, Tensor):
            items.append(CodeItem(path, label, stem, code=code))
        else:
            items.append(Item(path, label, stem, f"a code is [rows, width], this is {code}"))
    return items


def with_codes(items: Sequence[Item]) -> list[Item]:
    """Where a folder holds no photo at all, the files that may hold codes are meant."""
    if not items or not all(item.ignored for item in items):
        return list(items)
    found: list[Item] = []
    for item in items:
        codes = codes_in(item.path) if holds_codes(item.path) else []
        kept = any(isinstance(code, CodeItem) for code in codes)
        found += [_below(item, code) for code in codes] if kept else [item]
    return found


def write_code(path: Path, latent: Tensor) -> None:
    """Write a code [L, D] as .npy of float32, whole or not at all."""
    blob = io.BytesIO()
    np.save(blob, latent.detach().float().cpu().numpy())
    write_atomic(path, blob.getvalue())


def _below(item: Item, code: Item) -> Item:
    """Named as lying in the folder that the file lies in."""
    folder = item.name[: len(item.name) - len(item.path.name)]
    return replace(code, name=folder + code.name, stem=folder + code.stem)


def _codes(content: Any, name: str) -> Iterator[tuple[str, Tensor | str]]:
    """(name, code or what it is instead), the names safe for files."""
    if isinstance(content, Mapping) and isinstance(content.get("latent"), Tensor):
        content = content["latent"]
    if isinstance(content, Mapping | list | tuple):
        pairs = content.items() if isinstance(content, Mapping) else enumerate(content)
        single = len(content) == 1
        for key, value in pairs:
            own = "" if single and not _is_file_name(key) else _safe(str(key))
            if isinstance(value, Tensor) or (isinstance(value, Mapping) and "latent" in value):
                yield from _codes(value, "-".join(filter(None, (name, own))))
            else:
                yield "-".join(filter(None, (name, own))), f"a {type(value).__name__}"
        return
    if not isinstance(content, Tensor):
        yield name, f"a {type(content).__name__}"
    elif content.ndim in (1, 2) and 0 < content.numel() <= LARGEST and not content.is_complex():
        yield name, content.reshape(-1, content.shape[-1])
    elif content.ndim == 4 and content.shape[1] == 1:
        yield from _codes(content[:, 0], name)
    elif content.ndim == 3:
        if len(content) > MOST:
            raise CheckpointError(f"holds {len(content):,} codes, more than {MOST:,}")
        for index, code in enumerate(content):
            yield "-".join(filter(None, (name, f"{index:05d}" if len(content) > 1 else ""))), code
    else:
        yield name, str(list(content.shape))


def _is_file_name(key: object) -> bool:
    return isinstance(key, str) and Path(key).suffix.lower() in PICTURES


def _safe(key: str) -> str:
    """A key of somebody's dict as a file's name: no folders, nothing hidden, no ending of a picture."""
    key = key[: -len(Path(key).suffix)] if _is_file_name(key) else key
    return "".join("_" if mark in '/\\:*?"<>|' else mark for mark in printable(key)).lstrip(". ") or "code"
