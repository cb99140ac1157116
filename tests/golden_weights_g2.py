"""Stand-in weights for the files of FS, CLCAE, StyleFeatureEditor and StyleRes: `golden_weights` plus four rules.

A bare StyleGAN2 file has the tensors of an SDIC file's `decoder.`. Networks in NVIDIA's layout have weights of unit
variance. A joint projection bias is a bias. What closes a residual branch is 0.3 times the usual.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
import torch
from torch import Tensor

from tests.golden_weights import FILTER, draw, key_shapes

NVIDIA = ("generator_smooth.synthesis.", "generator_smooth.mapping.", "discriminator.")
CLOSING = re.compile(r"(\.bn3|\.body\.\d+\.body\.5)\.weight$|\.modify_.*\.res_layer\.2\.weight$")


def draw_g2(key: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The tensor that stands for `key`."""
    leaf = key.rsplit(".", 1)[-1]
    normal = np.random.RandomState((zlib.crc32(key.encode()) ^ seed) & 0xFFFFFFFF).standard_normal(shape)
    if leaf == "in_proj_bias":
        return torch.from_numpy(np.asarray(0.02 * normal, dtype=np.float32))
    if CLOSING.search(key):
        return 0.3 * draw(key, shape, seed)
    if not key.startswith(NVIDIA) or ".modify_" in key:
        return draw(key, shape, seed)
    if leaf == "resample_filter":
        return torch.from_numpy(FILTER.copy())
    scale = {"noise_strength": 0.05, "bias": 0.02, "w_avg": 0.1}.get(leaf, 1.0)
    values = 1.0 + 0.1 * normal if leaf == "bias" and ".affine." in key else scale * normal
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def stand_in_g2(name: str, seed: int = 0) -> dict[str, Tensor]:
    """A whole state dict."""
    return {key: draw_g2(key, shape, seed) for key, shape in key_shapes(name).items()}


def deviation(golden: np.lib.npyio.NpzFile, stage: str, tensor: Tensor) -> float:
    """Largest difference from the golden samples and statistics, in standard deviations of the stage."""
    stats = golden[f"{stage}.stats"]
    values = tensor.detach().reshape(len(tensor), -1).double().numpy()
    picked = values[:, np.linspace(0, values.shape[1] - 1, 257).astype(int)]
    worst = np.abs(picked - golden[f"{stage}.samples"]).max()
    found = [values.mean(), values.std(), values.min(), values.max()]
    return float(max(worst, np.abs(np.array(found) - stats).max()) / stats[1])
