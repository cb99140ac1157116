"""Small helpers on tensors and modules."""

from __future__ import annotations

import hashlib

import torch
from torch import nn

from sdic.errors import ConfigError


def fingerprint(module: nn.Module) -> str:
    """Hex sha256 over the names, shapes and float32 bytes of a module's tensors, the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()


def resolve_device(name: str = "auto") -> torch.device:
    """ "auto" is CUDA, else Apple's MPS, else the CPU; any other name is torch's. ConfigError where there is no such
    device here."""
    if name != "auto":
        try:
            device = torch.device(name)
        except RuntimeError as error:
            raise ConfigError(f"device {name!r} is none that torch knows; use auto, cpu, cuda, cuda:1, mps") from error
        counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
        if not (device.index or 0) < counts.get(device.type, 1):
            raise ConfigError(
                f"device {name}: torch finds {counts.get(device.type) or 'no'} {device.type.upper()} device here; "
                "use auto or cpu"
            )
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
