"""Every setting of the pretraining stages. A YAML file in configs/portraits says what differs; keys are dotted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sdic.errors import ConfigError


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass
class RunConfig:
    """dir: the run folder; the same command again goes on there. steps: optimiser steps in all. batch: pictures a step.
    minutes: wall-clock time after which the run saves and stops (0: none); the same command again goes on.
    fit_minutes: wall-clock time that all steps together may take (0: any): learning rates then fall by the clock where
    it is ahead of the steps, and the run is finished when it is over. Such a run cannot be repeated exactly.
    save_every, log_every, pictures_every, evaluate_every: in steps; 0 is only at the end.
    device: "auto", "cpu", "cuda:1", "mps". precision: of the networks' arithmetic ("bf16": autocast; discriminators and
    regularisers stay in fp32). channels_last: memory layout of convolutions on a GPU.
    ema_images: half-life of the weights' average, in pictures; 0: no average.
    """

    dir: str = "runs/stage"
    steps: int = 1000
    batch: int = 64
    minutes: float = 0.0
    fit_minutes: float = 0.0
    save_every: int = 500
    log_every: int = 50
    pictures_every: int = 500
    evaluate_every: int = 0
    seed: int = 0
    device: str = "auto"
    precision: Literal["fp32", "bf16"] = "fp32"
    channels_last: bool = True
    ema_images: float = 0.0

    def __post_init__(self) -> None:
        _require(self.dir != "", "run.dir must name a folder")
        _require(self.steps >= 1 and self.batch >= 1, "run.steps and run.batch must be at least 1")
        _require(self.minutes >= 0, f"run.minutes must be 0 (no limit) or more, got {self.minutes}")
        for name in ("save_every", "log_every", "pictures_every", "evaluate_every"):
            _require(getattr(self, name) >= 0, f"run.{name} must be 0 or more, got {getattr(self, name)}")


@dataclass
class OptimConfig:
    """Adam. lr falls to lr * final_lr along a cosine over the run; beta2 as in StyleGAN2 for adversarial stages."""

    lr: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.99
    final_lr: float = 0.05

    def __post_init__(self) -> None:
        _require(self.lr > 0, f"optim.lr must be positive, got {self.lr}")


@dataclass
class DataConfig:
    """source: "portraits" renders; "folder", "zip" or "auto" reads pictures from `path`. resolution: side in pixels.
    count: pictures in all (folder: 0 is all). cache: folder for rendered pictures, shared by the stages; empty: none.
    people, views: for the identity network: so many people, each seen so many times (count is then their product).
    chunk: pictures rendered at once and kept in one cache file. flip: mirror at random (folders only).
    """

    source: Literal["portraits", "folder", "zip", "auto"] = "portraits"
    path: str = ""
    resolution: int = 64
    count: int = 20_000
    cache: str = "runs/portraits/cache"
    people: int = 4000
    views: int = 8
    chunk: int = 256
    flip: bool = False

    def __post_init__(self) -> None:
        _require(self.resolution >= 16, f"data.resolution must be at least 16, got {self.resolution}")
        _require(self.count >= 0 and self.chunk >= 1, "data.count must not be negative, data.chunk at least 1")
        _require(self.people >= 1 and self.views >= 1, "data.people and data.views must be at least 1")
        _require(self.source == "portraits" or self.path != "", f"data.source={self.source} needs data.path=PICTURES")
        _require(not (self.flip and self.source == "portraits"), "data.flip would change the portraits' yaw")


@dataclass
class AttributeModelConfig:
    """widths: channels of the stages. hidden: width of the Fréchet feature."""

    widths: list[int] = field(default_factory=lambda: [32, 48, 64, 96, 128])
    hidden: int = 256


@dataclass
class AttributesConfig:
    """The attribute and perceptual network. rest: weight of the other parameters' errors. evaluate: how many unseen
    portraits the errors are measured on."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    model: AttributeModelConfig = field(default_factory=AttributeModelConfig)
    rest: float = 0.5
    evaluate: int = 1000


@dataclass
class IdentityModelConfig:
    """The sizes of `PortraitEmbedder`."""

    size: int = 64
    blocks: list[int] = field(default_factory=lambda: [1, 2, 2, 1])
    widths: list[int] = field(default_factory=lambda: [32, 64, 96, 128])
    embedding: int = 128


@dataclass
class IdentityConfig:
    """The identity network. margin (radians), scale: of ArcFace's softmax; the margin grows over `margin_steps` steps.
    traits: weight of the error with which the parameters that make a person are read off the embedding.
    evaluate: unseen people, each seen four times."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    model: IdentityModelConfig = field(default_factory=IdentityModelConfig)
    margin: float = 0.3
    scale: float = 24.0
    margin_steps: int = 1000
    traits: float = 5.0
    evaluate: int = 250


@dataclass
class SynthesisModelConfig:
    """The sizes of the generator; `channels` at 4, 8, ..., resolution. start: a file with a generator (and perhaps a
    discriminator) to begin from; empty: from nothing."""

    style_dim: int = 128
    mapping_layers: int = 8
    channels: list[int] = field(default_factory=lambda: [256, 256, 256, 128, 64])
    start: str = ""


@dataclass
class SupervisedConfig:
    """The generator's supervised stage. grow: steps at each of the sizes 16, 32, ... before the next one.
    face: how many times a pixel of the middle counts more than one of the rim. perceptual: weight of the distance
    through `attributes` (a file; empty: none), taken on `perceptual_share` of a batch (it costs half of a step on a
    CPU). w_noise: noise on the known codes, in their standard deviations.
    mapping_lr: learning rate of the mapping network's regression (its parameters are stored 100 times too large).
    mapping_batch: codes a step of it, out of mapping_pool that are made at the start. mapping_weight: of its error
    beside the pictures'.
    through_mapping: share of a batch that is drawn through the mapping network instead of the parameter encoder.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    model: SynthesisModelConfig = field(default_factory=SynthesisModelConfig)
    grow: int = 1000
    face: float = 5.0
    l2: float = 1.0
    l1: float = 0.5
    perceptual: float = 0.5
    perceptual_share: float = 1.0
    attributes: str = ""
    w_noise: float = 0.02
    mapping_lr: float = 0.2
    mapping_batch: int = 256
    mapping_pool: int = 100_000
    mapping_weight: float = 1.0
    through_mapping: float = 0.25
    evaluate: int = 1000


@dataclass
class AdversarialConfig:
    """The generator's adversarial stage. anchor: weight of the error against the rendered truth (portraits only).
    critic_first: steps in which the discriminator learns alone, so that it does not spoil a generator that can draw.
    r1: gamma of the discriminator's gradient penalty, every `r1_every` steps. path: weight of the path-length
    regulariser, every `path_every` steps on batch / path_shrink pictures. mixing: chance of two codes in one picture.
    attributes: file for the Fréchet distance and the anchor's perceptual part; empty: neither.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(2e-3, 0.0, 0.99, 1.0))
    model: SynthesisModelConfig = field(default_factory=SynthesisModelConfig)
    anchor: float = 10.0
    critic_first: int = 0
    face: float = 5.0
    perceptual: float = 0.5
    attributes: str = ""
    r1: float = 0.5
    r1_every: int = 16
    path: float = 2.0
    path_every: int = 4
    path_shrink: int = 2
    path_decay: float = 0.01
    mixing: float = 0.9
    evaluate: int = 2000

    def __post_init__(self) -> None:
        _require(min(self.r1_every, self.path_every, self.path_shrink) >= 1, "the *_every and path_shrink start at 1")
        _require(0 <= self.mixing <= 1, f"mixing is a probability, got {self.mixing}")


@dataclass
class EncoderModelConfig:
    """The sizes of e4e's IR-SE body; rows below `coarse` and `middle` read the coarser features."""

    blocks: list[int] = field(default_factory=lambda: [2, 3, 4, 2])
    widths: list[int] = field(default_factory=lambda: [32, 64, 96, 128])
    coarse: int = 3
    middle: int = 6


@dataclass
class EncoderConfig:
    """e4e. generator: file. attributes, identity: files of the loss networks; empty: without that term.
    l2, perceptual, id: weights on real pictures and generated ones. code: weight of the squared error to the known code
    of generated pictures, which are `generated` of every batch. deltas: weight of the offsets' norm. critic: weight of
    the latent discriminator; critic_lr, critic_r1, critic_r1_every: of its own training; pool: codes it remembers.
    progressive_from, progressive_every: step at which row 1 gets its offset, and steps until each further row does.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=lambda: OptimConfig(1e-3, 0.9, 0.99, 0.05))
    model: EncoderModelConfig = field(default_factory=EncoderModelConfig)
    generator: str = "pretrained/portraits/generator.safetensors"
    attributes: str = ""
    identity: str = ""
    l2: float = 1.0
    perceptual: float = 0.8
    id: float = 0.2
    code: float = 0.2
    generated: float = 0.5
    deltas: float = 2e-4
    critic: float = 0.1
    critic_lr: float = 2e-5
    critic_r1: float = 10.0
    critic_r1_every: int = 16
    pool: int = 50
    progressive_from: int = 2000
    progressive_every: int = 200
    evaluate: int = 500

    def __post_init__(self) -> None:
        _require(0 <= self.generated <= 1, f"generated is a share of the batch, got {self.generated}")
        _require(self.critic_r1_every >= 1 and self.progressive_every >= 1, "the *_every start at 1")


@dataclass
class DirectionsConfig:
    """InterFaceGAN. samples: codes drawn and scored. extremes: share at either end that the classifier sees.
    names: attributes of the attribute network. condition: each direction leaves the other names' readouts as they are.
    along: shortest move by Euclid's length ("normal", as published) or by that of the codes' covariance.
    probes: codes on which a unit is calibrated; spans: the largest changes asked for, in the attributes' units.
    folder: holds `manifest.yaml`; the files go into the folder `domain` in it.
    """

    run: RunConfig = field(default_factory=lambda: RunConfig(dir="runs/directions", batch=64))
    generator: str = "pretrained/portraits/generator.safetensors"
    attributes: str = "pretrained/portraits/attributes.safetensors"
    names: list[str] = field(default_factory=lambda: ["age", "yaw", "smile"])
    units: list[str] = field(default_factory=lambda: ["years", "degrees", "of the smile's scale, -1 to 1"])
    spans: list[float] = field(default_factory=lambda: [40.0, 40.0, 1.0])
    defaults: list[float] = field(default_factory=lambda: [20.0, 20.0, 0.5])
    samples: int = 20_000
    extremes: float = 0.1
    condition: bool = True
    along: Literal["normal", "covariance"] = "covariance"
    probes: int = 256
    domain: str = "portraits"
    folder: str = "editings"

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.units), len(self.spans), len(self.defaults)}
        _require(len(lengths) == 1, "names, units, spans and defaults need one entry each")
        _require(0 < self.extremes <= 0.5, f"extremes is a share of at most a half, got {self.extremes}")
