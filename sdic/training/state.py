"""A run's state on disk: everything that its next step depends on, of what is frozen only the hashes.

`state-IMAGES.NNN` are the pieces of one torch file, small enough to be carried anywhere; `state-IMAGES.json`, written
last, says how many there are and their hash. A state whose pieces do not make that hash is named and passed over.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sdic.config import to_plain
from sdic.errors import CheckpointError
from sdic.training.task import Task
from sdic.utils.files import write_atomic

VERSION = 2
PIECE = 15 * 2**20  # bytes


@dataclass
class Progress:
    """steps: training steps done. images: had so far, over all processes. skipped: phases left out in a row. sums,
    counts: of the terms since the last line of metrics.jsonl. best: the best validation value so far. measured:
    the last validation. seconds: of training, over all calls, where `run.fit_minutes` asks."""

    steps: int = 0
    images: int = 0
    skipped: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    best: float | None = None
    measured: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


def collect(
    task: Task, scalers: Mapping[str, torch.amp.GradScaler], progress: Progress, hashes: Mapping[str, str]
) -> dict[str, Any]:
    """The state of a run. hashes: fingerprints of the frozen networks."""
    return {
        "version": VERSION,
        "task": task.name,
        "config": to_plain(task.config),
        "frozen": dict(hashes),
        "progress": dict(vars(progress)),
        "extra": {name: value.cpu() for name, value in task.extra.items()},
        "parts": {
            part: {name: item.state_dict() for name, item in items.items()}
            for part, items in _changing(task, scalers).items()
        },
    }


def restore(
    state: dict[str, Any],
    task: Task,
    scalers: Mapping[str, torch.amp.GradScaler],
    hashes: Mapping[str, str],
    where: str,
) -> Progress:
    """Put a state into a task. CheckpointError where it was made with other networks or settings."""
    if (state.get("version"), state.get("task")) != (VERSION, task.name):
        raise CheckpointError(
            f"{where}: a state of {state.get('task')}, version {state.get('version')}; this is {task.name}, version "
            f"{VERSION}; use another run.dir"
        )
    for role, mine in hashes.items():
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
            # An average that is new begins with the network.
            item.load_state_dict(state["parts"][part].get(name) or state["parts"]["networks"][name])
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


def write_state(folder: Path, images: int, state: dict[str, Any]) -> None:
    """Write a state; it counts when its index is there."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    blob = buffer.getbuffer()
    stem = f"state-{images:08d}"
    places = range(0, len(blob), PIECE)
    for number, place in enumerate(places):
        write_atomic(folder / f"{stem}.{number:03d}", blob[place : place + PIECE])
    index = {"images": images, "pieces": len(places), "sha256": hashlib.sha256(blob).hexdigest()}
    write_atomic(folder / f"{stem}.json", json.dumps(index))


def read_state(folder: Path, say: Callable[[str], None] = lambda message: None) -> dict[str, Any] | None:
    """The newest whole state, tensors on the CPU, or None. Damaged ones are named."""
    for path in reversed(list_states(folder)):
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            blob = b"".join((folder / f"{path.stem}.{n:03d}").read_bytes() for n in range(index["pieces"]))
            if hashlib.sha256(blob).hexdigest() != index["sha256"]:
                raise ValueError("its pieces are not what was written")
            return torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            say(f"{path}: damaged ({error}); an older state is used if there is one")
    return None


def list_states(folder: Path) -> list[Path]:
    """The indices of the states in a folder, oldest first."""
    return sorted(path for path in folder.glob("state-*.json") if re.fullmatch(r"state-\d+\.json", path.name))


def images_of(path: Path) -> int:
    """The images in a file name of ours."""
    return int(re.search(r"-(\d+)", path.name).group(1))  # type: ignore[union-attr]


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` states and weights; the best weights stay."""
    states = {path.stem for path in list_states(folder)[-keep:]}
    for path in folder.glob("state-*"):
        if path.name.split(".")[0] not in states:
            path.unlink(missing_ok=True)
    for path in sorted(folder.glob("weights-*.safetensors"))[:-keep]:
        path.unlink(missing_ok=True)
