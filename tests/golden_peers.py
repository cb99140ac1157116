"""Golden values of other methods' networks, where they are at hand, and the stand-in weights that go with them.

The files `golden_NAME_seed0.npz` are not part of the repository: they are looked for in the folder that
$SDIC_REFERENCE names, else in `../shared/reference`; tests that compare with them are skipped where they are missing.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.golden_weights import draw, key_shapes
from tests.golden_weights_g2 import stand_in_g2

REFERENCE = Path(os.environ.get("SDIC_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))
TOLERANCE = 1e-3  # of the stage's standard deviation: float32 reordering; a broken layer shows as 1e-1
UNBIASED = ("hfgi", "psp", "restyle_psp", "restyle_e4e", "hyperstyle", "pti")
"""The files whose standard deviations are divided by n - 1, not by n."""
STATISTICS = 1e-4  # the same of mean, std, min and max, which see the whole tensor


def golden(name: str) -> dict[str, np.ndarray]:
    """The golden values of a method; the test is skipped where they are not at hand."""
    path = REFERENCE / f"golden_{name}_seed0.npz"
    if not path.is_file():
        pytest.skip(f"{path.name} is not at hand")
    with np.load(path) as file:
        return {**file, "ddof": np.array(int(name in UNBIASED))}


def photo(values: dict[str, np.ndarray], size: int) -> Tensor:
    """The picture that the values were computed for: [1, 3, size, size]."""
    coarse = torch.from_numpy(values["x_low"])
    return torch.tanh(F.interpolate(coarse, size=(size, size), mode="bicubic", align_corners=False))


def deviation(values: dict[str, np.ndarray], stage: str, tensor: Tensor) -> float:
    """Largest difference from the golden samples, in standard deviations of the stage; of the statistics ten times
    theirs, so that one tolerance is for both."""
    stats, samples = values[f"{stage}.stats"], values[f"{stage}.samples"]
    flat = tensor.detach().reshape(len(tensor), -1).double().numpy()
    picked = flat[:, np.linspace(0, flat.shape[1] - 1, samples.shape[1]).astype(int)]
    spread = flat.std(ddof=min(int(values["ddof"]), flat.size - 1))
    found = np.array([flat.mean(), spread, flat.min(), flat.max()])
    scale = stats[1] if stats[1] > 0 else 1.0
    worst = np.abs(found - stats).max() * TOLERANCE / STATISTICS
    return float(max(np.abs(picked - samples).max(), worst) / scale)


def deviations(values: dict[str, np.ndarray], stages: dict[str, Tensor]) -> dict[str, float]:
    """`deviation` of each stage."""
    return {stage: deviation(values, stage, tensor) for stage, tensor in stages.items()}


def direction(seed: int = 0) -> Tensor:
    """The direction of the golden edits, [18, 512]; their strength is 0.5."""
    return draw("direction", (18, 512), seed)


# Stand-in weights -----------------------------------------------------------------------------------------------------


def hfgi_release(seed: int = 0) -> dict[str, Any]:
    """What `torch.load` of HFGI's release returns."""
    state = {key: hfgi_tensor(key, shape, seed) for key, shape in key_shapes("hfgi_ffhq").items()}
    return {"state_dict": state, "latent_avg": draw("latent_avg", (18, 512), seed), "opts": {"seed": seed}}


def hfgi_tensor(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Both heads of the consultation encoder hold weights of unit variance, their last ones a fiftieth of that."""
    tensor = draw(key, shape, seed)
    if re.match(r"decoder\.style\.\d+\.weight$", key):
        return tensor * 100.0
    if key.startswith("residue.condition_") and key.endswith(".weight"):
        unit = float(np.sqrt(np.prod(shape[1:]) / 1.5)) if "scale3" in key else 1.0
        return tensor * (unit * (0.02 if "3.2." in key else 1.0))
    return tensor


def styleres_release(seed: int = 0) -> dict[str, Any]:
    """What `torch.load` of StyleRes's release returns."""
    parts: dict[str, Any] = {"e4e": {}, "generator_smooth": {}}
    for key, tensor in stand_in_g2("styleres_ffhq", seed).items():
        part, _, rest = key.partition(".")
        parts[part][rest] = tensor
    return {**parts, "latent_avg": draw("latent_avg", (512,), seed)}


def fs_files(folder: Path, seed: int = 0) -> None:
    """The two files of FS's release in a folder: the encoder, and pSp's, whose generator it draws with. pSp's own
    encoder, which nothing looks at, is all zeros."""
    state = {}
    for key, shape in key_shapes("e4e_ffhq_encode").items():
        count = key.endswith("num_batches_tracked")
        zeros = torch.zeros(shape, dtype=torch.int64 if count else torch.float32)
        state[key] = draw(key, shape, seed) if key.startswith("decoder.") else zeros
    options = {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True, "dataset_type": "ffhq_encode"}
    content = {"state_dict": state, "latent_avg": draw("latent_avg", (18, 512), seed), "opts": options}
    torch.save(content, folder / "psp_ffhq_encode.pt")
    torch.save(stand_in_g2("fs_encoder", seed), folder / "143_enc.pth")
