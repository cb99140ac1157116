"""Tiny trainings on portraits that run in seconds, and the files they make for each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from sdic.config import load_config
from sdic.training.distributed import World
from sdic.training.loop import Trainer
from sdic.training.task import find_task

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "portraits"
TASKS = ("attributes", "identity", "generator-supervised", "generator", "e4e")
"""In the order in which one needs the other."""
FILES = {"e4e": "encoder"}


class Workshop:
    """Debug trainings below one folder."""

    def __init__(self, root: Path):
        self.root = root

    def file(self, task: str, run: str = "") -> Path:
        return self.root / (run or task) / "result" / f"{FILES.get(task, task)}.safetensors"

    def config(self, task: str) -> Path:
        return CONFIGS / f"{FILES.get(task, task)}_debug.yaml"

    def words(self, task: str, run: str = "") -> list[str]:
        words = [f"run.dir={self.root / (run or task)}", f"data.cache={self.root / 'cache'}"]
        needs = {
            "generator": [("attributes", "attributes"), ("model.start", "generator-supervised")],
            "e4e": [("generator", "generator"), ("attributes", "attributes"), ("identity", "identity")],
        }
        return words + [f"{key}={self.file(name)}" for key, name in needs.get(task, [])]

    def task(self, task: str, *settings: str, run: str = "", world: World | None = None) -> Any:
        entry = find_task(task)
        config = load_config(entry.config, self.config(task), [*self.words(task, run), *settings])
        return entry.task(config, world or World(0, 1, torch.device("cpu")))

    def trainer(self, task: str, *settings: str, run: str = "") -> Trainer:
        return Trainer(self.task(task, *settings, run=run))

    def prepared(self, task: str, *settings: str) -> Any:
        """A task that could take a step; its networks train."""
        built = self.task(task, *settings, run=f"{task}-unused")
        built.prepare(lambda: False)
        for network in built.networks.values():
            network.train()
        return built


def learn(task: Any, phase: str, batch: Any, steps: int) -> list[dict[str, float]]:
    """The terms of `steps` optimiser steps of one phase on one batch."""
    (chosen,) = [one for one in task.phases if one.name == phase]
    found = []
    for _ in range(steps):
        for role, network in task.networks.items():
            network.requires_grad_(role in chosen.networks)
        terms = task.loss(phase, batch() if callable(batch) else batch)
        terms["loss"].backward()
        chosen.optimizer.step()
        chosen.optimizer.zero_grad(set_to_none=True)
        found.append({name: float(value.detach()) for name, value in terms.items()})
    return found
