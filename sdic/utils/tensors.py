"""Small helpers on tensors and modules."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from sdic.errors import CheckpointError, ConfigError
from sdic.utils.files import atomic_file
from sdic.utils.text import one_line

P = ParamSpec("P")
T = TypeVar("T")


def fingerprint(module: nn.Module) -> str:
    """Hex sha256 over the names, shapes and float32 bytes of a module's tensors, the same on every device."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}{list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()


def resolve_device(name: str | torch.device = "auto", one_size: bool = False) -> torch.device:
    """The device of a name: "auto" is CUDA, else Apple's MPS, else the CPU; "cpu", "cuda", "cuda:1", "mps" are
    themselves. ConfigError for one that does not exist, or not here.

    Whoever computes gets the device here, so here is also decided how a GPU computes: see `set_arithmetic`.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"device {name!r} does not exist; write auto, cpu, cuda, cuda:1 or mps") from error
    here = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(device.type, 1)
    if (device.index or 0) >= here:
        raise ConfigError(f"device {name}: torch finds {here} of the kind {device.type} here; use cpu, or auto")
    if device.type == "cuda":
        set_arithmetic(one_size)
    return device


def set_arithmetic(one_size: bool) -> None:
    """The one place where PyTorch's switches for GPUs are set, for the whole process.

    "fp32" is float32: without TF32, which keeps 10 bits of 23, in matrix products and in convolutions (where PyTorch
    has it on). one_size: all batches have one shape, as in training: cuDNN then tries its algorithms and keeps the
    fastest, so that two runs may differ by rounding; otherwise it chooses by rule.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = one_size


def without_gradients(function: Callable[P, T]) -> Callable[P, T]:
    """Neither gradients nor inference mode, whose tensors would stay in the generator's caches and spoil a later use
    with gradients."""

    @wraps(function)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> T:
        with torch.inference_mode(False), torch.no_grad():
            return function(*arguments, **options)

    return wrapped


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


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write a safetensors file that `read_tensors` reads, whole or not at all. Equal content gives equal files.

    Tensors may be anywhere, in any layout, and share memory.
    """
    from safetensors.torch import save

    own: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        place = value.untyped_storage().data_ptr()
        own[name] = value.clone() if place in places else value  # the format has no tensors that share memory
        places.add(place)
    blob = save(own, metadata=dict(header))
    end = 8 + int.from_bytes(blob[:8], "little")
    texts = json.loads(blob[8:end])
    texts["__metadata__"] = dict(sorted(texts["__metadata__"].items()))  # the library's order is random
    content = json.dumps(texts, separators=(",", ":"), ensure_ascii=False).encode()
    content += b" " * (-len(content) % 8)
    with atomic_file(path) as handle:
        handle.write(len(content).to_bytes(8, "little") + content)
        handle.write(memoryview(blob)[end:])
