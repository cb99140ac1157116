"""The settings that every training has. What a task adds stands in its own file.

Lengths and intervals are counted in images, so that they keep their meaning when the batch changes. A YAML file says
what differs from the defaults; keys are dotted, and every check names the keys it is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sdic.settings import at_least, require, section, setting


@dataclass
class RunConfig:
    """The run as a whole."""

    dir: str = setting("runs/training", "the run folder; the same command again goes on from what is there")
    images: int = setting(200_000, "images in all, over all processes; the run is finished then")
    minutes: float = setting(
        0.0, "wall-clock minutes after which it saves and stops; the same command goes on; 0: none"
    )
    fit_minutes: float = setting(
        0.0,
        "wall-clock minutes that all training together may take: the run is finished then, and learning rates fall by "
        "the clock where it is ahead of the images; such a run cannot be repeated exactly; 0: any",
    )
    save_every: int = setting(4000, "images between two states; 0: only at the end")
    keep_last: int = setting(3, "states kept, besides the best weights")
    piece_mib: int = setting(0, "a state is written in pieces of so many MiB, to be carried anywhere; 0: in one file")
    log_every: int = setting(100, "images between two lines of metrics.jsonl; 0: never")
    pictures_every: int = setting(2000, "images between two picture grids; 0: only at the end")
    pictures: int = setting(4, "photos in a picture grid; 0: no grids")
    seed: int = setting(0, "of everything random")
    tensorboard: bool = setting(True, "also write TensorBoard events")
    threads: int = setting(0, "CPU threads of a process; 0 leaves it to PyTorch")
    on_nan: Literal["stop", "skip"] = setting("stop", "what to do about a step that is not finite")

    def __post_init__(self) -> None:
        require(self.dir != "", "run.dir must name a folder")
        at_least(self, 1, "images keep_last", "run.")
        at_least(self, 0, "minutes fit_minutes save_every piece_mib log_every pictures_every pictures threads", "run.")


@dataclass
class OptimConfig:
    """One optimiser's step, and what comes with it."""

    name: Literal["ranger", "ranger21", "adam", "soap"] = setting(
        "ranger",
        "ranger is the field's (RAdam, Lookahead, gradient centralization), ranger21 the package of that name, soap "
        "Adam in the eigenbasis of Shampoo's preconditioner",
    )
    lr: float = setting(1e-3, "learning rate")
    fall: float = setting(0.0, "share of the run, at its end, over which the rate falls along a cosine")
    final: float = setting(0.0, "share of the rate that it falls to")
    beta1: float = setting(0.95, "decay of the gradient's mean")
    beta2: float = setting(0.999, "decay of the gradient's square (soap: 0.95)")
    eps: float = setting(1e-5, "added to the root of the square's mean")
    batch: int = setting(2, "images a step, over all processes and micro-batches")
    accumulate: int = setting(1, "micro-batches a step and process")
    clip: float = setting(0.0, "largest norm of a phase's gradient; 0: any")
    ema_images: float = setting(
        0.0, "half-life, in images, of the average of the weights that is validated and exported; 0: no average"
    )
    batchnorm: Literal["local", "sync", "frozen"] = setting(
        "local", "statistics of batch normalisation: of each process, of all processes together, or the stored ones"
    )

    def __post_init__(self) -> None:
        require(self.lr > 0, f"optim.lr must be above 0, got {self.lr}")
        require(0 <= self.fall <= 1, f"optim.fall is a share of the run, 0 to 1, got {self.fall}")
        require(0 <= self.final <= 1, f"optim.final is a share of the rate, 0 to 1, got {self.final}")
        require(self.fall == 0 or self.name != "ranger21", "ranger21 has a schedule of its own; set optim.fall=0")
        for name in ("beta1", "beta2"):
            require(0 <= getattr(self, name) < 1, f"optim.{name} must be in [0, 1), got {getattr(self, name)}")
        require(self.eps > 0, f"optim.eps must be above 0, got {self.eps}")
        at_least(self, 1, "batch accumulate", "optim.")
        at_least(self, 0, "clip ema_images", "optim.", "0 (off)")
        require(
            self.batch % self.accumulate == 0,
            f"optim.batch={self.batch} cannot be split into optim.accumulate={self.accumulate} equal parts",
        )


@dataclass
class ValidationConfig:
    """What is measured on the way."""

    every: int = setting(0, "images between two validations; 0: none on the way")
    best: str = setting("", "the value by which the best weights are kept; empty: none are")

    def __post_init__(self) -> None:
        at_least(self, 0, "every", "validation.", "0 (never)")


@dataclass
class TrainingConfig:
    """What every task has. A task's config adds `data`, `model` and its own."""

    run: RunConfig = section(RunConfig)
    optim: OptimConfig = section(OptimConfig)
    validation: ValidationConfig = section(ValidationConfig)
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", "of the networks' arithmetic; weights, losses and discriminators stay float32"
    )
    device: str = setting("auto", "auto, cpu, cuda, cuda:1, mps; under torchrun each process takes its own GPU")
