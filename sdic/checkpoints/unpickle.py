"""Reading `.pt` and `.pth` files without executing what is in them."""

from __future__ import annotations

import argparse
import os
import pickle
from pathlib import Path
from typing import Any

import torch

from sdic.errors import CheckpointError


def load_tensors(path: str | os.PathLike[str], trust: bool = False) -> Any:
    """What torch.save wrote, on the CPU. Only plain data is accepted (and argparse.Namespace, in which the e4e family
    keeps its options); a file that would execute code is refused.

    `trust` unpickles it all the same: only ever on the user's explicit word.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if trust:
        return torch.load(path, map_location="cpu", weights_only=False)
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            try:
                return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except (RuntimeError, ValueError):  # files in the format before torch 1.6 cannot be mapped
                return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, because loading it could execute code ({_first_line(error)}). If you trust where it "
            f"comes from, convert it once, knowingly: "
            f"sdic convert {path} --out {path.with_suffix('.safetensors').name} --trust"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: not a readable torch file, or damaged ({_first_line(error)})") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    named = [line for line in lines if "GLOBAL" in line or "Unsupported" in line]
    return (named or lines or [type(error).__name__])[0][:300]
