"""Stand-in weights from a key list and a seed: every tensor is drawn from numpy's RandomState(crc32(key) ^ seed)."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

KEYS = Path(__file__).parent / "golden" / "keys"
FILTER = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64


def key_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """The keys and shapes of one file, by the stem of its .tsv."""
    shapes = {}
    for line in (KEYS / f"{name}.tsv").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            key, _, shape = line.partition("\t")
            shapes[key] = tuple(int(size) for size in shape.split(",") if size)
    return shapes


def draw(key: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The tensor that stands for `key`. Scales keep activations finite through fifty layers."""
    leaf = key.rsplit(".", 1)[-1]
    random = np.random.RandomState((zlib.crc32(key.encode()) ^ seed) & 0xFFFFFFFF)
    if leaf == "num_batches_tracked":
        return torch.zeros((), dtype=torch.int64)
    if leaf == "kernel":
        return torch.from_numpy(FILTER * (4.0 if "upsample" in key or ".conv.blur." in key else 1.0))
    if leaf == "running_var":
        return _tensor(random.uniform(0.6, 1.4, shape))
    normal = random.standard_normal(shape)
    if leaf in ("running_mean",) or (leaf == "weight" and shape == (1,)):
        return _tensor(0.05 * normal)
    if leaf == "weight" and len(shape) == 1:
        return _tensor(0.75 + 0.1 * normal)
    if leaf == "bias":
        return _tensor(1.0 + 0.1 * normal if "modulation" in key else 0.02 * normal)
    if leaf == "latent_avg":
        return _tensor(0.1 * normal)
    equalized = key.startswith("decoder.") or ".linear.weight" in key or "condition_shift3" in key
    if equalized or leaf.startswith("noise_") or leaf == "input":
        return _tensor(normal)
    fan_in = int(np.prod(shape[1:])) or 1
    return _tensor(normal * np.sqrt(1.5 / fan_in))


def stand_in(name: str, seed: int = 0) -> dict[str, Tensor]:
    """A whole state dict."""
    return {key: draw(key, shape, seed) for key, shape in key_shapes(name).items()}


def release(seed: int = 0, name: str = "sdic_ffhq", rows: int = 18) -> dict[str, object]:
    """What `torch.load` of an SDIC release returns."""
    return {
        "state_dict": stand_in(name, seed),
        "latent_avg": draw("latent_avg", (rows, 512), seed),
        "opts": {"seed": seed},
    }


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
