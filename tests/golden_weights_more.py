"""Stand-in weights for files with a few layers that `golden_weights.draw` would scale wrongly, and what goes with them.

Golden values and key lists lie outside of the repository: tests that read them are skipped where they are not.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden_weights import draw

REFERENCE = Path(__file__).resolve().parents[2] / "shared" / "reference"


def golden(name: str) -> Any:
    """The golden values of one method; the test is skipped where they are not."""
    path = REFERENCE / f"golden_{name}_seed0.npz"
    if not path.is_file():
        pytest.skip(f"needs {path.name}, which is not in this repository")
    return np.load(path)


def stand_in_more(name: str, seed: int = 0, step_gain: float = 1.0) -> dict[str, Tensor]:
    """A whole state dict by the stem of its key list. Keys that hold one tensor twice share it.

    step_gain: of the last layers of an encoder whose outputs are added up over several passes.
    """
    shared: dict[str, Tensor] = {}
    state = {}
    for line in (REFERENCE / "keys" / f"{name}.tsv").read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        key, _, sizes = line.partition("\t")
        shape = tuple(int(size) for size in sizes.split(",") if size)
        own = re.sub(r"refinement_blocks\.\d+\.hypernet\.", "shared_weight_hypernet.", key)
        if own not in shared:
            shared[own] = draw(own, shape, seed) * _gain(own, shape, step_gain)
        state[key] = shared[own]
    return state


def _gain(key: str, shape: tuple[int, ...], step_gain: float) -> float:
    if re.match(r"encoder\.styles\.\d+\.linear\.weight$", key):
        return step_gain
    if re.match(r"decoder\.style\.\d+\.weight$", key):  # stored a hundred times as large as they are used
        return 100.0
    if "shared_weight_hypernet" in key:
        return float(np.sqrt((int(np.prod(shape[1:])) or 1) / 1.5)) / 40
    if re.search(r"refinement_blocks\.\d+\.output\.\d+\.weight$", key):
        return 0.1
    return 1


def golden_photo() -> Tensor:
    """The photo of all golden values: [1, 3, 256, 256]."""
    coarse = torch.from_numpy(golden("face")["x_low"])
    return torch.tanh(F.interpolate(coarse, size=(256, 256), mode="bicubic", align_corners=False))


def deviations(values: Any, stages: dict[str, Tensor]) -> dict[str, float]:
    """Largest difference from the golden samples of each stage, and of its mean, std, min and max, in its standard
    deviations."""
    found = {}
    for stage, tensor in stages.items():
        stats, samples = values[f"{stage}.stats"], values[f"{stage}.samples"]
        flat = tensor.reshape(len(tensor), -1).double().numpy()
        picked = flat[:, np.linspace(0, flat.shape[1] - 1, samples.shape[1]).astype(int)]
        own = np.array([flat.mean(), flat.std(ddof=1), flat.min(), flat.max()])
        found[stage] = float(max(np.abs(picked - samples).max(), np.abs(own - stats).max()) / stats[1])
    return found
