"""What a run needs to go on where it stopped, and the weights it gives away.

`checkpoints/state-STEP.pt` holds what trains, the optimiser and the counters, nothing frozen: of that only hashes.
`checkpoints/weights-STEP.safetensors` (and `best.safetensors`) hold DIPN and DICN for `sdic.load`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdic.checkpoints import write_native
from sdic.errors import CheckpointError
from sdic.training.optim import WeightAverage
from sdic.training.stack import Stack
from sdic.training.state_files import step_of, write_state

VERSION = 1


@dataclass
class Progress:
    """step: optimiser steps done. samples: photos seen, over all processes. skipped: steps left out in a row.
    sums, count: of the loss terms since the last line of metrics.jsonl. best: the best validation value so far.
    """

    step: int = 0
    samples: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    best: float | None = None
    skipped: int = 0


@dataclass
class Trained:
    """Everything that changes during training."""

    compensator: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: WeightAverage | None
    progress: Progress


def save_state(folder: Path, trained: Trained, config: dict[str, Any], hashes: dict[str, str], keep: int) -> None:
    """Write `state-STEP.pt`, whole or not at all, and delete all but the newest `keep`."""
    progress = trained.progress
    state = {
        "version": VERSION,
        "compensator": trained.compensator.state_dict(),
        "optimizer": trained.optimizer.state_dict(),
        "scaler": trained.scaler.state_dict(),
        "average": None if trained.average is None else trained.average.network.state_dict(),
        "progress": dict(vars(progress)),
        "config": config,
        "frozen": hashes,
    }
    write_state(folder, progress.step, state, keep)


def load_state(
    path: Path, state: dict[str, Any], trained: Trained, config: dict[str, Any], hashes: dict[str, str]
) -> int:
    """Put the state of a file into `trained`; returns its step. CheckpointError where the frozen networks or what
    trains are others; errors of other kinds where it is no state of ours."""
    if state["version"] != VERSION:
        raise CheckpointError(f"{path}: a state of version {state['version']}, this sdic writes {VERSION}")
    for role, mine in hashes.items():
        if state["frozen"][role] != mine:
            raise CheckpointError(
                f"{path} was trained with the {role} {state['frozen'][role][:16]}..., model.frozen="
                f"{config['model']['frozen']} has {mine[:16]}...; use the same files, or another run.dir"
            )
    changed = [
        f"{part}.{key} (was {state['config'][part].get(key)}, is {config[part][key]})"
        for part, keys in BOUND.items()
        for key in keys
        if state["config"][part].get(key) != config[part][key]
    ]
    if changed:
        raise CheckpointError(f"{path} was trained with other settings: {', '.join(changed)}; use another run.dir")
    trained.compensator.load_state_dict(state["compensator"])
    trained.optimizer.load_state_dict(state["optimizer"])
    trained.scaler.load_state_dict(state["scaler"])
    if trained.average is not None:
        trained.average.network.load_state_dict(state["average"] or state["compensator"])
    vars(trained.progress).update(vars(Progress(**state["progress"])))
    return trained.progress.step


BOUND = {
    "model": ("preset", "layer", "map", "spatial_contextual", "attention", "fusion"),
    "optim": ("name",),
    "run": ("seed",),
}
"""Settings that a state cannot be continued without: they decide what its tensors, or its order of pictures, mean."""


def write_weights(path: Path, network: nn.Module, stack: Stack, name: str, step: int) -> None:
    """DIPN and DICN as a file of ours, with what `sdic.load` needs to put the frozen part beside them."""
    source = {
        "name": name,
        "step": str(step),
        **stack.origin,
        "layer": str(stack.layer),
        **{f"{role}_sha256": value for role, value in stack.hashes.items()},
    }
    compensator: Any = network
    write_native(path, {"dipn": compensator.dipn, "dicn": compensator.dicn}, source)


def prune_weights(folder: Path, step: int, keep: int) -> None:
    """Delete all but the newest `keep` weights up to a step; the best weights stay."""
    for path in [p for p in sorted(folder.glob("weights-*.safetensors")) if step_of(p) <= step][:-keep]:
        path.unlink(missing_ok=True)
