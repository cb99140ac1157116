"""Every setting of a training run. Defaults are the paper's for faces; a YAML file says what differs.

Keys are dotted: `optim.lr` is `TrainConfig.optim.lr`. Every check names the keys it is about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sdic.errors import ConfigError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass
class RunConfig:
    """dir: the run folder; the same command again resumes what is there. steps: optimiser steps in all.
    save_every, log_every, pictures_every: in steps; 0 is never (a checkpoint is always written at the end).
    keep_last: checkpoints kept besides the best weights. seed: of everything random.
    pictures: photos in a picture grid. tensorboard: also write TensorBoard events.
    threads: CPU threads of a process; 0 leaves it to PyTorch.
    on_nan: what to do about a step whose loss or gradient is not finite.
    """

    dir: str = "runs/sdic"
    steps: int = 100_000
    save_every: int = 2000
    keep_last: int = 3
    log_every: int = 50
    pictures_every: int = 1000
    pictures: int = 4
    seed: int = 0
    tensorboard: bool = True
    threads: int = 0
    on_nan: Literal["stop", "skip"] = "stop"

    def __post_init__(self) -> None:
        _require(self.steps >= 1, f"run.steps must be at least 1, got {self.steps}")
        for name in ("save_every", "log_every", "pictures_every", "pictures", "threads"):
            _require(getattr(self, name) >= 0, f"run.{name} must be 0 or more, got {getattr(self, name)}")
        _require(self.keep_last >= 1, f"run.keep_last must be at least 1, got {self.keep_last}")
        _require(self.dir != "", "run.dir must name a folder")


@dataclass
class DataConfig:
    """source: a name in sdic.data.sources; "auto" is "zip" for a .zip file, else "folder". path: its folder or file.
    names: a text file with one picture name a line; only those are used, in sorted order. limit: use only the first so
    many pictures (0: all). flip: mirror each picture with probability 1/2. workers: loader processes.
    cache: what of the frozen first pass is kept on disk: nothing, e4e's codes, or codes and first reconstructions.
    cache_dir: where; empty is `cache` beside the run folders.
    """

    source: str = "auto"
    path: str = ""
    names: str = ""
    limit: int = 0
    flip: bool = True
    workers: int = 2
    cache: Literal["off", "codes", "first_pass"] = "off"
    cache_dir: str = ""

    def __post_init__(self) -> None:
        _require(self.limit >= 0, f"data.limit must be 0 (all) or more, got {self.limit}")
        _require(self.workers >= 0, f"data.workers must be 0 or more, got {self.workers}")


@dataclass
class ModelConfig:
    """frozen: where generator and e4e come from: a model name (`sdic models`), a weight file, or "tiny" (untrained).
    generator: another name or file to take the generator from, where `frozen` holds only an encoder.
    start: a name or file with DIPN and DICN to start from; empty: from nothing.
    preset: which text the two networks follow. layer: the compensated layer k of the generator.
    map: what the discrepancy map is (see `DIPNConfig`): "predicted" as in the paper; "difference" or "refined" where
    there are minutes, not days. A "refined" run may start from a "difference" one.
    spatial_contextual, attention, fusion: the switches of Table 2 and Figure 4 (ablations: False, False, "affine").
    noise: of the generator while training; validation always uses the fixed one.
    batchnorm: statistics of a training batch: "local" per process, "sync" over all processes, "frozen" stored ones.
    activation_checkpointing: recompute the generator's activations in the backward pass: slower, less memory.
    """

    frozen: str = "e4e-ffhq"
    generator: str = ""
    start: str = ""
    preset: Literal["released", "paper"] = "paper"
    layer: int = 7
    map: Literal["predicted", "difference", "refined"] = "predicted"
    spatial_contextual: bool = True
    attention: bool = True
    fusion: Literal["attention", "affine"] = "attention"
    noise: Literal["fixed", "random"] = "fixed"
    batchnorm: Literal["local", "sync", "frozen"] = "local"
    activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        _require(self.layer >= 1, f"model.layer must be 1 or more, got {self.layer}")
        _require(self.frozen != "", "model.frozen must name a model, a file, or tiny")


@dataclass
class LossConfig:
    """l2, lpips, id, edit: weights of the terms of eq. 7-9; 0 leaves a term out, and its network is not needed.
    l2_form: "mse", the mean squared error of the tables, or "euclidean", the norm of the difference as the text says.
    lpips_weights: "pretrained", or "random" for a first look without files (then called lpips_random everywhere); or a
    model (`sdic models`) or weight file with an attribute network, whose features then give the distance (called
    perceptual everywhere).
    id_network: "arcface" for faces, "moco" for other domains, another model's name, a weight file, or "none".
    edit_form: "paper" L1(w, w') + L1(F, F') (eq. 8), or "released" 0.2 MSE(w, w') + 0.8 MSE(F, F').
    """

    l2: float = 1.0
    lpips: float = 0.8
    id: float = 0.2
    edit: float = 0.5
    l2_form: Literal["mse", "euclidean"] = "mse"
    lpips_weights: str = "pretrained"
    id_network: str = "arcface"
    edit_form: Literal["paper", "released"] = "paper"

    def __post_init__(self) -> None:
        for name in ("l2", "lpips", "id", "edit"):
            _require(getattr(self, name) >= 0, f"loss.{name} must be 0 or more, got {getattr(self, name)}")
        _require(self.l2 + self.lpips + self.id + self.edit > 0, "loss.l2, loss.lpips, loss.id and loss.edit are all 0")
        _require(
            self.lpips == 0 or self.lpips_weights not in ("", "none"),
            f"loss.lpips is {self.lpips} but loss.lpips_weights is {self.lpips_weights or 'empty'}; set loss.lpips=0, "
            "or name pretrained, random, a model or a file",
        )
        _require(
            self.id == 0 or self.id_network != "none",
            f"loss.id is {self.id} but loss.id_network is none; set loss.id=0 or name a network",
        )


@dataclass
class OptimConfig:
    """name: "ranger" is the field's (RAdam, Lookahead, gradient centralization), "ranger21" the package of that name,
    "soap" Adam in the eigenbasis of Shampoo's preconditioner: most per step in short trainings, with beta2 0.95.
    lr: constant, or falling to 0 along a cosine over the last `fall` (a share) of the steps; ranger21 warms up and down
    by itself. batch: photos a step, over all processes and micro-batches.
    accumulate: micro-batches a step and process. clip: largest gradient norm, 0 is no clipping.
    ema: decay of the averaged weights that are validated and exported, 0 is none.
    """

    name: Literal["ranger", "ranger21", "adam", "soap"] = "ranger"
    lr: float = 1e-3
    fall: float = 0.0
    beta1: float = 0.95
    beta2: float = 0.999
    eps: float = 1e-5
    batch: int = 2
    accumulate: int = 1
    clip: float = 0.0
    ema: float = 0.0

    def __post_init__(self) -> None:
        _require(self.lr > 0, f"optim.lr must be above 0, got {self.lr}")
        _require(0 <= self.fall <= 1, f"optim.fall is a share of the steps, 0 to 1, got {self.fall}")
        _require(self.fall == 0 or self.name != "ranger21", "ranger21 has a schedule of its own; set optim.fall=0")
        for name in ("beta1", "beta2", "ema"):
            _require(0 <= getattr(self, name) < 1, f"optim.{name} must be in [0, 1), got {getattr(self, name)}")
        _require(self.eps > 0, f"optim.eps must be above 0, got {self.eps}")
        _require(self.batch >= 1, f"optim.batch must be at least 1, got {self.batch}")
        _require(self.accumulate >= 1, f"optim.accumulate must be at least 1, got {self.accumulate}")
        _require(self.clip >= 0, f"optim.clip must be 0 (off) or more, got {self.clip}")
        _require(
            self.batch % self.accumulate == 0,
            f"optim.batch={self.batch} cannot be split into optim.accumulate={self.accumulate} equal parts",
        )


@dataclass
class ValidationConfig:
    """every: in steps, 0 is never. source, path, names, limit: as in `data`; an empty path is no validation, unless the
    source needs none. metrics: names in sdic.evaluation.metrics. best: the metric by which the best weights are kept.
    """

    every: int = 5000
    source: str = "auto"
    path: str = ""
    names: str = ""
    limit: int = 1000
    metrics: list[str] = field(default_factory=lambda: ["l2", "psnr", "ssim", "lpips", "id"])
    best: str = "lpips"

    def __post_init__(self) -> None:
        _require(self.every >= 0, f"validation.every must be 0 (never) or more, got {self.every}")
        _require(self.limit >= 0, f"validation.limit must be 0 (all) or more, got {self.limit}")
        _require(
            self.best in self.metrics,
            f"validation.best={self.best} is not among validation.metrics={','.join(self.metrics)}",
        )


@dataclass
class TrainConfig:
    """A whole run. precision: of the networks' arithmetic; weights and losses stay float32. device: "auto", "cpu",
    "cuda", ...; under torchrun each process takes its own GPU."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str = "auto"

    def __post_init__(self) -> None:
        _require(
            self.data.cache == "off" or self.model.noise == "fixed",
            f"data.cache={self.data.cache} keeps first reconstructions, which model.noise=random makes anew each time; "
            "set data.cache=off or model.noise=fixed",
        )
