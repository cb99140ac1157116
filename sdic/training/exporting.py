"""Results as files: half precision where nothing that is looked at changes, no trace of a machine."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sdic import zoo
from sdic.checkpoints import write_native

AGREE = 0.01  # root mean square change of the outputs over their standard deviation
ABSOLUTE = re.compile(r"""(?<![\w.:/~-])/(?:[^\s/'",;:]+/)*[^\s/'",;:]+""")


def export(
    path: Path,
    networks: Mapping[str, nn.Module],
    outputs: Callable[[Mapping[str, nn.Module]], Tensor],
    source: Mapping[str, str],
) -> float:
    """Write networks as float16 if that changes `outputs` by less than AGREE, else as float32.

    Returns the root mean square change over that standard deviation, as measured.
    """
    halved = {role: copy.deepcopy(network).half().float() for role, network in networks.items()}
    with torch.no_grad():
        full, half = outputs(networks).float(), outputs(halved).float()
    change = float((full - half).square().mean().sqrt() / full.std().clamp_min(1e-12))
    fits = bool(torch.isfinite(half).all()) and change < AGREE
    note = {"dtype": "float16" if fits else "float32", "half_precision_change": f"{change:.2e}"}
    write_native(path, networks, {**source, **note}, torch.float16 if fits else None)
    return change


def portable(text: str) -> str:
    """A text without the absolute paths in it: those below the repository from there on, of others the name alone."""

    def short(match: re.Match[str]) -> str:
        path = Path(match.group())
        return path.relative_to(zoo.REPOSITORY).as_posix() if path.is_relative_to(zoo.REPOSITORY) else path.name

    return ABSOLUTE.sub(short, text)
