"""One door for every weight file: ours or another layout, by its content."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.layouts import read_foreign, stylegan2_ada
from sdic.checkpoints.native import read_native
from sdic.checkpoints.tflite import is_tflite, read_tflite
from sdic.checkpoints.unpickle import load_tensors
from sdic.errors import CheckpointError, SdicError
from sdic.utils.files import sha256_of
from sdic.utils.text import one_line, reason

LONGEST_MESSAGE = 3000
_OF_DAMAGE = (AttributeError, LookupError, TypeError, ValueError, ArithmeticError, RuntimeError, AssertionError)
"""What networks and layouts raise that are given texts, shapes and numbers of another kind than they are for."""


def read_bundle(path: str | os.PathLike[str], sha256: str | None = None, trust: bool = False) -> Bundle:
    """The networks in a file, in float32 on the CPU, frozen, in eval mode, with finite numbers only.

    `sha256`, if given, must be the file's (its hash is recorded in `source` in any case). `trust` allows a pickle that
    executes code; see `load_tensors`. CheckpointError for every other file, damaged ones included; sizes are compared
    with the file's tensors before a network takes memory.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path.absolute()}: no such file")
    try:
        digest = sha256_of(path)
        if sha256 is not None and digest != sha256:
            raise CheckpointError(
                f"{path}: sha256 is {digest}, expected {sha256}: damaged, or another file than before. If you "
                f"replaced it on purpose, delete {path.name}.sha256 beside it"
            )
        bundle = read_native(path) if _is_safetensors(path) else _read_other(_content(path, trust), path.name)
        for role, network in bundle.networks.items():
            network.eval().requires_grad_(False)
            _check_numbers(network, f"{path} ({role})")
    except SdicError as error:
        message = one_line(error, LONGEST_MESSAGE)  # keys of the file stand in it
        if isinstance(error, CheckpointError):
            if message == str(error):
                raise
            raise CheckpointError(message) from error
        raise CheckpointError(f"{path}: {message}") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({reason(error)})") from error
    except _OF_DAMAGE as error:
        raise CheckpointError(f"{path}: damaged, or not what it says ({one_line(error)})") from error
    bundle.source["sha256"] = digest
    return bundle


def _content(path: Path, trust: bool) -> Any:
    """What a file of other people holds: tensors by name, and what lies beside them."""
    with open(path, "rb") as handle:
        head = handle.read(8)
        if is_tflite(head):
            return read_tflite(head + handle.read(), path.name)
    return load_tensors(path, trust)


def _read_other(content: Any, what: str) -> Bundle:
    """A file of other people: NVIDIA's networks are no state dicts, so they are told apart first."""
    if not stylegan2_ada.recognise(content):
        return read_foreign(content, what)
    bundle = stylegan2_ada.read(content, what)
    bundle.source["layout"] = stylegan2_ada.NAME
    return bundle


def _check_numbers(network: nn.Module, what: str) -> None:
    """CheckpointError for numbers that are not finite, or whole numbers where weights belong."""
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            if not name.endswith("num_batches_tracked"):
                raise CheckpointError(f"{what}: {name} holds {tensor.dtype}, no real numbers")
        elif tensor.numel() and not torch.stack(torch.aminmax(tensor)).isfinite().all():
            raise CheckpointError(f"{what}: {name} holds numbers that are not finite")


def _is_safetensors(path: Path) -> bool:
    """safetensors begin with the length of a JSON header, then the header; a damaged one still has its name."""
    if path.suffix == ".safetensors":
        return True
    with open(path, "rb") as handle:
        return handle.read(9)[8:] == b"{"
