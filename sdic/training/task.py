"""What a training is: networks, phases with a loss each, what is measured, drawn and exported. `loop` does the rest.

A step is one batch of `optim.batch` images, split over processes and micro-batches. In every step each phase whose turn
it is gets its loss on all of them, and its optimiser takes one step: StyleGAN2, for instance, has a discriminator, its
R1 penalty every 16 steps, a generator, and its path-length penalty every 4.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdic.data.sampler import derive_seed
from sdic.domains import modules
from sdic.errors import ConfigError, UnknownNameError
from sdic.fast import slice_volumes
from sdic.training import batchnorm
from sdic.training.config import OptimConfig
from sdic.training.distributed import World
from sdic.training.exporting import export
from sdic.training.optim import WeightAverage, build_optimizer
from sdic.utils.tensors import fingerprint

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
HIGHER = frozenset({"psnr", "face_psnr", "ssim", "id", "auc", "accuracy"})
"""Values of an evaluation of which more is better; of every other, less is."""


class StoppedError(Exception):
    """The run was asked to stop before its data were ready; what is made is kept."""


@dataclass(frozen=True)
class Phase:
    """One optimiser step of a training step. networks: the roles whose parameters get a gradient. Phases may share an
    optimiser (a loss and its lazy regulariser). every: in steps. start: images before its first turn."""

    name: str
    networks: tuple[str, ...]
    optimizer: torch.optim.Optimizer
    every: int = 1
    start: int = 0


class Task(ABC):
    """One thing to train.

    networks: what is trained, by role.
    frozen: what is looked through; their fingerprints are bound to the state.
    averaged: roles of which an average is kept, if `optim.ema_images` asks for one.
    extra: further tensors that a step depends on, equal on all processes.
    phases: in the order in which they come in a step.
    """

    name: str
    """Of the task in the registry, and of its result: NAME.safetensors."""
    bound: tuple[str, ...] = ("run.seed", "optim.name", "model")
    """Settings, or groups of them, that a state cannot be continued without."""

    def __init__(self, config: Any, world: World):
        self.config = config
        self.world = world
        self.device = world.device
        self.networks: dict[str, nn.Module] = {}
        self.frozen: dict[str, nn.Module] = {}
        self.averaged: tuple[str, ...] = ()
        self.averages: dict[str, WeightAverage] = {}
        self.extra: dict[str, Tensor] = {}
        self.phases: list[Phase] = []
        self.steps = self.images = 0  # had before this step; the loop keeps them
        self.say: Callable[[str], None] = print
        self.draw = torch.Generator(world.device)

    # What a task says of itself ---------------------------------------------------------------------------------------

    def prepare(self, stopped: Callable[[], bool]) -> None:  # noqa: B027 - may be nothing
        """Open the data and finish what depends on them. StoppedError when `stopped()` before they are ready."""

    @abstractmethod
    def batches(self, images: int) -> Iterator[Any]:
        """This process's micro-batches, without end, after all processes together have had `images` images. `names` of
        a batch are its pictures', for messages."""

    @abstractmethod
    def loss(self, phase: str, batch: Any) -> dict[str, Tensor]:
        """ "loss", a scalar with a gradient, and terms to write down, of one micro-batch."""

    def parts(self, phase: str, batch: Any) -> Iterator[dict[str, Tensor]]:
        """The loss in parts that add up, each with a graph of its own: its gradient is taken before the next is made.

        Terms of one name add up too.
        """
        yield self.loss(phase, batch)

    def after_step(self) -> None:  # noqa: B027 - may be nothing
        """What else changes with a step; `steps` and `images` count it already."""

    def evaluate(self) -> dict[str, float]:
        """What the networks are worth now, in numbers; every process gets the same ones."""
        return {}

    def best(self) -> tuple[str, str]:
        """(the value of `evaluate` by which the best weights are kept, whether "lower" or "higher" is better)."""
        name = self.config.validation.best
        return name, "higher" if name in HIGHER else "lower"

    def picture(self) -> Tensor | None:
        """A grid [3, H, W] in [-1, 1] that shows how things are, or None."""
        return None

    @abstractmethod
    def exported(self) -> dict[str, nn.Module]:
        """The networks that files hold, by the role that files call them by."""

    @abstractmethod
    def outputs(self, networks: Mapping[str, Any]) -> Tensor:
        """What `exported()` networks compute on pictures at hand: half precision is written where this agrees."""

    def header(self) -> dict[str, str]:
        """What the header of its files says."""
        return {"task": self.name}

    def export(self, folder: Path, networks: Mapping[str, nn.Module], about: Mapping[str, str]) -> list[Path]:
        """Write the result, `exported()` as it is or as it was at its best, into a folder; returns the files.

        about: goes into the header."""
        path = folder / f"{self.name}.safetensors"
        export(path, {role: network.to(self.device) for role, network in networks.items()}, self.outputs, about)
        return [path]

    def sizes(self) -> list[str]:
        """For `--dry-run`: lines about pictures, codes and features."""
        return []

    def on_meta(self, count: int) -> Callable[[], Tensor] | None:
        """For `--dry-run`: the loss of `count` images on the meta device, to be computed; None where it cannot be."""
        return None

    # Helpers for tasks ------------------------------------------------------------------------------------------------

    @property
    def micro_batch(self) -> int:
        """Images of one process in one micro-batch."""
        return self.config.optim.batch // (self.world.size * self.config.optim.accumulate)

    @functools.cached_property
    def hashes(self) -> dict[str, str]:
        """Fingerprints of the frozen networks, the same for every file they may come from."""
        return {role: fingerprint(network) for role, network in self.frozen.items()}

    def average(self, role: str) -> Any:
        """The network whose results count: the average where there is one, in eval mode."""
        network = self.averages[role].network if role in self.averages else self.networks[role]
        return network.eval()

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """The arithmetic of `precision`; nothing for "fp32"."""
        precision = self.config.precision
        return contextlib.nullcontext() if precision == "fp32" else torch.autocast(self.device.type, DTYPES[precision])

    def place(self, network: nn.Module) -> nn.Module:
        """A frozen network on the device, in the memory layout that its convolutions are fastest in."""
        network = network.to(self.device)
        return network.to(memory_format=torch.channels_last) if self.device.type == "cuda" else network

    def trained(self, network: nn.Module) -> nn.Module:
        """A network to be trained, on the device, with the statistics that `optim.batchnorm` asks for."""
        network = self.place(batchnorm.prepare(network, self.config.optim.batchnorm)).requires_grad_(True)
        if self.device.type == "cpu":
            slice_volumes(network)
        return network

    def optimizer(self, parameters: Any, lazy: int = 0, **other: Any) -> torch.optim.Optimizer:
        """The optimiser of `optim`, or with `other` settings. lazy: a regulariser shares it every so many steps; rate
        and betas are then corrected as StyleGAN2 does, by c = lazy / (lazy + 1)."""
        optim: OptimConfig = replace(self.config.optim, **other)
        if lazy:
            c = lazy / (lazy + 1)
            optim = replace(optim, lr=optim.lr * c, beta1=optim.beta1**c, beta2=optim.beta2**c)
        return build_optimizer(optim, parameters, -(-self.config.run.images // optim.batch))

    @contextlib.contextmanager
    def weights_drawn(self, *what: str) -> Iterator[None]:
        """New networks begin with the weights that `run.seed` and `what` say, and no other draw is changed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.config.run.seed, *what, "weights"))
            yield

    def only_phase(self) -> list[Phase]:
        """One phase, of the task's name, that trains all networks."""
        parameters = [p for network in self.networks.values() for p in network.parameters()]
        return [Phase(self.name, tuple(self.networks), self.optimizer(parameters))]

    def seed(self, what: str) -> None:
        """What follows draws what an uninterrupted run draws there: each process its own, `draw` the same on all."""
        torch.manual_seed(derive_seed(self.config.run.seed, "step", self.world.rank, self.steps, what))
        self.draw.manual_seed(derive_seed(self.config.run.seed, "draw", self.steps, what))

    def randn(self, count: int, *shape: int) -> Tensor:
        """Normal numbers [count, *shape] for this process's images: its rows of what one process would draw for all."""
        return self.mine(torch.randn(count * self.world.size, *shape, device=self.device, generator=self.draw))

    def rand(self, count: int) -> Tensor:
        """Numbers [count] in [0, 1), drawn as `randn` does."""
        return self.mine(torch.rand(count * self.world.size, device=self.device, generator=self.draw))

    def mine(self, whole: Tensor) -> Tensor:
        """This process's rows of a tensor for all processes' images."""
        return whole[self.world.rank :: self.world.size]


def improves(value: float, best: float | None, better: str) -> bool:
    """Whether a validation's value is better than the best one so far (None: there is none).

    better: "lower" or "higher". A value that is not finite is worse than any number, and than none.
    """
    if not math.isfinite(value):
        return False
    if best is None or not math.isfinite(best):
        return True
    return value < best if better == "lower" else value > best


# The registry ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """A task by name: the class of its settings, and what makes it of them. meaning: for `sdic train --help`. run: in
    place of the loop, for what is found in one go."""

    config: type[Any]
    build: Callable[[Any, World], Task] | None
    meaning: str
    run: Callable[[Any], int] | None = None

    def task(self, config: Any, world: World) -> Task:
        """The task of a config; ConfigError where there is no loop."""
        if self.build is None:
            raise ConfigError("this is found in one go: there is no run to describe")
        return self.build(config, world)


MODULES = [f"sdic.training.tasks.{name}" for name in ("inverter", "stylegan2", "e4e")]
"""Modules that register tasks when they are imported; a domain's entry names its own."""
_TASKS: dict[str, Entry] = {}


def register(name: str, entry: Entry) -> None:
    """Make a task known by its name."""
    _TASKS[name] = entry


def tasks() -> dict[str, Entry]:
    """Every task by name."""
    for name in (*MODULES, *modules("tasks").values()):
        module = importlib.import_module(name)
        _TASKS.update(module.entries() if hasattr(module, "entries") else {})
    return dict(_TASKS)


def find_task(name: str) -> Entry:
    """A task by its name; UnknownNameError lists the known ones."""
    known: Mapping[str, Entry] = tasks()
    if name not in known:
        raise UnknownNameError("task", name, known)
    return known[name]


def grid(pictures: Tensor | Sequence[Tensor], columns: int) -> Tensor:
    """Pictures [N, 3, H, W] as one [3, rows * H, columns * W]; what does not fill a row is left out. Of several batches
    come the first row of each, then the second row of each."""
    if not isinstance(pictures, Tensor):
        pairs = zip(*(batch.split(columns) for batch in pictures), strict=True)
        pictures = torch.cat([part for pair in pairs for part in pair])
    rows = len(pictures) // columns
    cut = pictures[: rows * columns].unflatten(0, (rows, columns))
    return cut.permute(2, 0, 3, 1, 4).reshape(3, rows * pictures.shape[2], columns * pictures.shape[3])
