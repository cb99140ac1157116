"""One door for every weight file: ours or another layout, by its content."""

from __future__ import annotations

import os
from pathlib import Path

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.layouts import read_foreign
from sdic.checkpoints.native import read_native
from sdic.checkpoints.unpickle import load_tensors
from sdic.errors import CheckpointError
from sdic.utils.files import sha256_of


def read_bundle(path: str | os.PathLike[str], sha256: str | None = None, trust: bool = False) -> Bundle:
    """The networks in a file, in float32 on the CPU, frozen, in eval mode.

    `sha256`, if given, must be the file's (its hash is recorded in `source` in any case). `trust` allows a pickle that
    executes code; see `load_tensors`.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path.absolute()}: no such file")
    digest = sha256_of(path)
    if sha256 is not None and digest != sha256:
        raise CheckpointError(
            f"{path}: sha256 is {digest}, expected {sha256}: damaged, or another file than before. If you "
            f"replaced it on purpose, delete {path.name}.sha256 beside it"
        )
    bundle = read_native(path) if _is_safetensors(path) else read_foreign(load_tensors(path, trust), path.name)
    bundle.source["sha256"] = digest
    for network in bundle.networks.values():
        network.eval().requires_grad_(False)
    return bundle


def _is_safetensors(path: Path) -> bool:
    """safetensors begin with the length of a JSON header, then the header; a damaged one still has its name."""
    if path.suffix == ".safetensors":
        return True
    with open(path, "rb") as handle:
        return handle.read(9)[8:] == b"{"
