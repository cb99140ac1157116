"""What a stage is: networks, optimisers, and one step of their training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdic.pretraining.config import OptimConfig, RunConfig
from sdic.training.optim import WeightAverage
from sdic.utils.tensors import resolve_device


class Stage(ABC):
    """One thing to train. The loop calls `prepare` once, then `step` for every step.

    networks: what is saved, by name. optimizers: by name. averages: of networks, by the network's name.
    extra: further tensors that a step depends on.
    """

    name = "stage"

    def __init__(self, config: Any):
        self.config = config
        self.run: RunConfig = config.run
        self.device = resolve_device(config.run.device, one_size=True)
        self.networks: dict[str, nn.Module] = {}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.averages: dict[str, WeightAverage] = {}
        self.extra: dict[str, Tensor] = {}

    @abstractmethod
    def prepare(self, deadline: float, say: Any) -> None:
        """Build networks and optimisers and open the pictures. `deadline`: as in `render_bank`."""

    @abstractmethod
    def step(self, step: int) -> dict[str, Tensor]:
        """One optimiser step; returns scalars to record."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """What the result is worth, in numbers; called at the end and every `run.evaluate_every` steps."""

    @abstractmethod
    def export(self, folder: Path) -> list[Path]:
        """Write the result as safetensors into `folder`; returns the files."""

    def picture(self) -> Tensor | None:
        """A grid [3, H, W] in [-1, 1] that shows how things are, or None."""
        return None

    @property
    def source(self) -> dict[str, str]:
        """What the header of its files says: the stage, and the domain where pictures are rendered."""
        rendered = self.config.data.source == "portraits"
        return {"stage": self.name, **({"domain": "portraits"} if rendered else {})}

    # Helpers for stages -----------------------------------------------------------------------------------------------

    def autocast(self) -> AbstractContextManager[object]:
        """The arithmetic of `run.precision`."""
        if self.run.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, torch.bfloat16)

    def place(self, network: nn.Module) -> nn.Module:
        """The network on the device, in the memory layout that its convolutions are fastest in."""
        network = network.to(self.device)
        wanted = self.run.channels_last and self.device.type == "cuda"
        return network.to(memory_format=torch.channels_last) if wanted else network

    def adam(self, parameters: Any, optim: OptimConfig, lazy: int = 0) -> torch.optim.Optimizer:
        """Adam. lazy: a regulariser runs every so many steps in a pass of its own; learning rate and betas are then
        corrected as StyleGAN2 does, by c = lazy / (lazy + 1)."""
        c = lazy / (lazy + 1) if lazy else 1.0
        betas = (optim.beta1**c, optim.beta2**c)
        return torch.optim.Adam(parameters, optim.lr * c, betas, 1e-8)

    def average(self, name: str) -> None:
        """Keep an average of a network, if `run.ema_images` asks for one."""
        if self.run.ema_images > 0:
            self.averages[name] = WeightAverage(self.networks[name], 0.0)

    def shown(self, name: str) -> nn.Module:
        """The network whose results count: the average where there is one, in eval mode."""
        network = self.averages[name].network if name in self.averages else self.networks[name]
        return network.eval()
