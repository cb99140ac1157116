"""The settings of an inverter's training, and the frozen networks that its losses and metrics look through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from functools import cache
from typing import Any, Literal

import torch

from sdic.errors import CheckpointError
from sdic.evaluation.metrics import Networks
from sdic.faces.finding import AlignSettings, check_settings
from sdic.feature_networks import identity_network, parsing_network, perceptual_distance
from sdic.losses.joint import JointLoss, LossWeights
from sdic.losses.perceptual import OverScales
from sdic.methods import Inverter
from sdic.settings import at_least, require, section, setting
from sdic.training.config import TrainingConfig, ValidationConfig


@dataclass
class PhotosConfig:
    """The photos that are trained on."""

    source: str = setting("auto", "a name in sdic.data.sources; auto: zip for a .zip file, else folder")
    path: str = setting("", "its folder or file")
    names: str = setting("", "a text file with one picture name a line: only those are used, in sorted order")
    limit: int = setting(0, "only the first so many pictures; 0: all")
    flip: bool = setting(True, "mirror each picture with probability 1/2")
    align: Literal["never", "auto", "always"] = setting(
        "never",
        "cut the faces out of raw photos as they are read (auto: unless aligned already); `sdic align` does so once",
    )
    face: str = setting("largest", "which of several: largest, or the N-th from the left")
    landmarks: str = setting("", "a .csv or .json file of them for the photos, instead of a detector")
    workers: int = setting(2, "loader processes")
    cache: Literal["off", "codes", "first_pass"] = setting(
        "off",
        "what of the frozen networks' results is kept on disk: nothing, codes, or codes and first reconstructions",
    )
    cache_dir: str = setting("", "where; empty: `cache` beside the run folders")

    def __post_init__(self) -> None:
        at_least(self, 0, "limit", "data.", "0 (all)")
        at_least(self, 0, "workers", "data.")
        check_settings(self.aligning)

    @property
    def aligning(self) -> AlignSettings:
        """Those that say how raw photos are aligned."""
        return AlignSettings(self.align, self.face, self.landmarks)


@dataclass
class InverterModelConfig:
    """The networks. A method's own settings come on top."""

    frozen: str = setting("e4e-ffhq", "frozen networks: a model (`sdic models`), a weight file, or tiny (untrained)")
    generator: str = setting("", "another model or file for the generator, where `frozen` holds only an encoder")
    after: str = setting(
        "", "a model or file with the networks of the method that this one comes after, where `frozen` has none"
    )
    start: str = setting("", "a model or file with trained networks to start from; empty: from nothing")
    noise: Literal["fixed", "random"] = setting("fixed", "of the generator in training; validation uses the fixed one")
    activation_checkpointing: bool = setting(
        False, "recompute the generator's activations in the backward pass: slower, less memory"
    )

    def __post_init__(self) -> None:
        require(self.frozen != "", "model.frozen must name a model, a file, or tiny")


@dataclass
class LossConfig:
    """The terms of eq. 7-9; one of weight 0 is left out, and its network is not needed."""

    l2: float = setting(1.0, "weight of the squared error")
    lpips: float = setting(0.8, "weight of the perceptual distance")
    id: float = setting(0.2, "weight of 1 - cosine of the identities")
    edit: float = setting(0.5, "weight of the distance from the first code and feature")
    map: float = setting(
        0.0, "weight of the squared error of the discrepancy map to photo less first reconstruction (not the paper's)"
    )
    l2_form: Literal["mse", "euclidean"] = setting("mse", "mean squared error (all tables), or norm (the text)")
    lpips_weights: str = setting(
        "pretrained",
        "LPIPS: pretrained, or random for a first look (lpips_random everywhere); or a model or file with an attribute "
        "network, whose features give the distance (perceptual everywhere)",
    )
    lpips_scales: int = setting(1, "sizes at which the perceptual distance is added up, each half the one before")
    id_network: str = setting("arcface", "arcface (faces), moco (others), another model, a weight file, or none")
    parsing: float = setting(0.0, "weight of the distance of the parsings of a face, as FS has it")
    parsing_network: str = setting("face-parsing", "the network that parses: a model or a weight file")
    edit_form: Literal["paper", "released"] = setting(
        "paper", "L1(w, w') + L1(F, F') (eq. 8), or 0.2 MSE(w, w') + 0.8 MSE(F, F')"
    )
    offsets: float = setting(0.0, "weight of the norms of rows' offsets from row 0 (e4e's regularisation)")
    critic: float = setting(0.0, "weight of e4e's latent discriminator; 0: none")
    critic_lr: float = setting(2e-5, "its learning rate, by Adam")
    critic_r1: float = setting(10.0, "gamma of its R1 penalty")
    critic_r1_every: int = setting(16, "steps between two of its R1 penalties")
    pool: int = setting(50, "codes of either kind that it remembers")
    adversarial: float = setting(0.0, "weight of a discriminator of pictures at the size of the losses; 0: none")
    adversarial_from: int = setting(0, "images before it begins")
    discriminator: str = setting("", "a model or file whose discriminator it begins as; empty: from nothing")
    discriminator_channels: int = setting(512, "the most channels of a new one")
    discriminator_lr: float = setting(1e-4, "its learning rate, by Adam")
    discriminator_r1: float = setting(10.0, "gamma of its R1 penalty")
    discriminator_r1_every: int = setting(16, "steps between two of its R1 penalties")

    def __post_init__(self) -> None:
        at_least(self, 0, "l2 lpips id edit map parsing offsets critic pool adversarial adversarial_from", "loss.")
        at_least(self, 1, "lpips_scales critic_r1_every discriminator_r1_every discriminator_channels", "loss.")
        total = self.l2 + self.lpips + self.id + self.edit + self.map
        require(total > 0, "loss.l2, loss.lpips, loss.id, loss.edit and loss.map are all 0")
        require(
            self.lpips == 0 or self.lpips_weights not in ("", "none"),
            f"loss.lpips is {self.lpips} but loss.lpips_weights is {self.lpips_weights or 'empty'}; set loss.lpips=0, "
            "or name pretrained, random, a model or a file",
        )
        require(
            self.id == 0 or self.id_network != "none",
            f"loss.id is {self.id} but loss.id_network is none; set loss.id=0 or name a network",
        )


@dataclass
class PhotosValidationConfig(ValidationConfig):
    """Held-out photos, measured through the very inverter that users get."""

    every: int = setting(10_000, "images between two validations; 0: none")
    source: str = setting("auto", "as data.source")
    path: str = setting("", "as data.path; empty: no validation, unless the source needs none")
    names: str = setting("", "as data.names")
    limit: int = setting(1000, "as data.limit")
    metrics: list[str] = setting(["l2", "psnr", "ssim", "lpips", "id"], "names in sdic.evaluation.metrics")
    best: str = setting("lpips", "the metric by which the best weights are kept")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 0, "limit", "validation.", "0 (all)")
        require(
            self.best in self.metrics,
            f"validation.best={self.best} is not among validation.metrics={','.join(self.metrics)}",
        )


@dataclass
class InverterConfig(TrainingConfig):
    """A whole run. The defaults are the paper's for faces."""

    data: PhotosConfig = section(PhotosConfig)
    model: InverterModelConfig = section(InverterModelConfig)
    loss: LossConfig = section(LossConfig)
    validation: PhotosValidationConfig = section(PhotosValidationConfig)

    def __post_init__(self) -> None:
        require(
            self.data.cache == "off" or self.model.noise == "fixed",
            f"data.cache={self.data.cache} keeps first reconstructions, which model.noise=random makes anew each time; "
            "set data.cache=off or model.noise=fixed",
        )


@cache
def config_of(kind: type[Inverter]) -> type[InverterConfig]:
    """The settings of a method's training: `model` and `loss` hold the method's own too."""
    model = _both(f"{kind.__name__}Model", kind.Settings, InverterModelConfig)
    loss = _both(f"{kind.__name__}Loss", kind.Losses, LossConfig)
    sections = [("model", model, field(default_factory=model)), ("loss", loss, field(default_factory=loss))]
    return make_dataclass(f"{kind.__name__}Config", sections, bases=(InverterConfig,))


def _both(name: str, own: type, shared: type) -> type:
    """A dataclass with the fields of both, which checks both."""

    def check(self: Any) -> None:
        for part in (shared, own):
            if hasattr(part, "__post_init__"):
                part.__post_init__(self)

    return make_dataclass(name, [], bases=(own, shared), namespace={"__post_init__": check})


def build_networks(config: InverterConfig, device: torch.device) -> Networks:
    """What the losses and the validation metrics of a config look through, frozen; None where nothing does.

    CheckpointError says which setting asks for a network that is not there, and how to train without it.
    """
    metrics = config.validation.metrics if config.validation.every else []

    def read(key: str, kind: Callable[[str], Any], without: str) -> Any:
        name = getattr(config.loss, key)
        try:
            return kind(name).to(device)
        except CheckpointError as error:
            raise CheckpointError(f"loss.{key}={name}: {error}. Without it: {without}") from error

    distance: Any = None
    embedder: Any = None
    if config.loss.lpips > 0 or "lpips" in metrics:
        without = "loss.lpips=0 with validation.metrics that leave lpips out, or loss.lpips_weights=random (for a first"
        distance = read("lpips_weights", perceptual_distance, f"{without} look; it is called lpips_random then)")
    if (config.loss.id > 0 or "id" in metrics) and config.loss.id_network != "none":
        without = "loss.id=0 loss.id_network=none and validation.metrics without id"
        embedder = read("id_network", identity_network, without)
    return Networks(distance, embedder)


def build_loss(config: InverterConfig, networks: Networks) -> JointLoss:
    """The joint loss that `loss.*` describes."""
    loss = config.loss
    weights = LossWeights(loss.l2, loss.lpips, loss.id, loss.edit, map=loss.map, parsing=loss.parsing)
    distance: Any = networks.lpips
    if loss.lpips > 0 and loss.lpips_scales > 1:
        distance = OverScales(distance, loss.lpips_scales)
    parser = parsing_network(loss.parsing_network) if loss.parsing > 0 else None
    return JointLoss(weights, distance, networks.embedder, loss.l2_form, loss.edit_form, parser)
