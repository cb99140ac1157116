"""A run's state: everything that its next step depends on; of what is frozen only the hashes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sdic.config import to_plain
from sdic.errors import CheckpointError
from sdic.training.task import Task

VERSION = 2


@dataclass
class Progress:
    """How far a run is.

    steps: training steps done.
    images: had so far, over all processes.
    skipped: phases left out in a row.
    sums, counts: of the terms since the last line of metrics.jsonl.
    lines: of metrics.jsonl.
    best, best_measured: the best validation so far, by its value, and all of it.
    measured: the last validation.
    seconds: of training, over all calls, where `run.fit_minutes` asks.
    """

    steps: int = 0
    images: int = 0
    skipped: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    best_measured: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    lines: int | None = None


def collect(task: Task, scalers: Mapping[str, torch.amp.GradScaler], progress: Progress) -> dict[str, Any]:
    """The state of a run."""
    return {
        "version": VERSION,
        "task": task.name,
        "config": to_plain(task.config),
        "frozen": task.hashes,
        "progress": dict(vars(progress)),
        "extra": {name: value.cpu() for name, value in task.extra.items()},
        "parts": {
            part: {name: item.state_dict() for name, item in items.items()}
            for part, items in _changing(task, scalers).items()
        },
    }


def restore(task: Task, scalers: Mapping[str, torch.amp.GradScaler], where: Path, state: dict[str, Any]) -> Progress:
    """Put a state, read from `where`, into a task. CheckpointError for one of other networks or settings."""
    of = state.get("task", "an earlier sdic, which counted steps")
    if (state["version"], of) != (VERSION, task.name):
        raise CheckpointError(f"{where}: a state of {of}; this is a run of {task.name}; use another run.dir")
    for role, mine in task.hashes.items():
        other = str(state["frozen"].get(role))
        if other != mine:
            raise CheckpointError(
                f"{where} was trained with the {role} {other[:16]}..., now it is {mine[:16]}...; use the same files, "
                "or another run.dir"
            )
    was, now = (_chosen(config, task.bound) for config in (state["config"], to_plain(task.config)))
    changed = [f"{key} (was {was.get(key)}, is {now[key]})" for key in now if was.get(key) != now[key]]
    if changed:
        raise CheckpointError(f"{where} was trained with other settings: {', '.join(changed)}; use another run.dir")
    for part, items in _changing(task, scalers).items():
        for name, item in items.items():
            found = state["parts"][part].get(name)
            # An average that is new begins with the network.
            item.load_state_dict(state["parts"]["networks"][name] if found is None else found)
    for name in task.extra:
        task.extra[name] = state["extra"][name].to(task.device)
    return Progress(**state["progress"])


def _changing(task: Task, scalers: Mapping[str, torch.amp.GradScaler]) -> dict[str, dict[str, Any]]:
    """Everything that has a `state_dict`. An optimiser of several phases is called by the first one's name."""
    optimizers = {id(phase.optimizer): (phase.name, phase.optimizer) for phase in reversed(task.phases)}
    return {
        "networks": dict(task.networks),
        "averages": {role: average.network for role, average in task.averages.items()},
        "optimizers": dict(optimizers.values()),
        "scalers": dict(scalers),
    }


def _chosen(config: dict[str, Any], keys: tuple[str, ...], prefix: str = "") -> dict[str, Any]:
    """The settings of a plain config whose dotted key is, or lies below, one of `keys`."""
    found: dict[str, Any] = {}
    for name, value in config.items():
        key = prefix + name
        if isinstance(value, dict):
            found |= _chosen(value, keys, f"{key}.")
        elif any(key == one or key.startswith(f"{one}.") for one in keys):
            found[key] = value
    return found
