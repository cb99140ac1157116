"""Small helpers on tensors and modules."""

from __future__ import annotations

import hashlib
import os

import torch
from torch import Tensor, nn

from sdic.errors import CheckpointError
from sdic.utils.safe import one_line


def fingerprint(module: nn.Module) -> str:
    """Hex sha256 over the names, shapes and float32 bytes of a module's tensors, the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()


def resolve_device(name: str = "auto") -> torch.device:
    """ "auto" is CUDA, else Apple's MPS, else the CPU; any other name is taken as it is."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def read_tensors(
    path: str | os.PathLike[str], device: str | torch.device = "cpu"
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors by name, texts of the header) of a safetensors file; CheckpointError for any other file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device=str(device)) as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}, handle.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, AttributeError) as error:  # number formats that torch lacks
        raise CheckpointError(f"{path}: not a readable safetensors file ({one_line(error)})") from error
