"""The frozen networks that losses and metrics look through, found among the pretrained files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdic import zoo
from sdic.checkpoints import Bundle, read_bundle
from sdic.errors import CheckpointError
from sdic.loading import read_frozen
from sdic.losses.joint import JointLoss, LossWeights
from sdic.losses.perceptual import BACKBONE, BACKBONE_SOURCE, LPIPS, pretrained_lpips, random_lpips
from sdic.training.config import TrainConfig

LPIPS_FILE = zoo.WeightFile(BACKBONE, BACKBONE_SOURCE, "BSD-3-Clause (torchvision)")
ROLES = {"arcface": "face_embedder", "moco": "moco"}
"""loss.id_network -> the role its file holds."""


@dataclass
class Features:
    """lpips, embedder: frozen, in eval mode; None where nothing in the config looks through them."""

    lpips: LPIPS | None = None
    embedder: Any = None

    def to(self, device: torch.device) -> Features:
        """Move everything, in place."""
        for network in (self.lpips, self.embedder):
            if network is not None:
                network.to(device)
        return self


def build_features(config: TrainConfig) -> Features:
    """What the losses and the validation metrics of a config need, on the CPU."""
    metrics = config.validation.metrics if config.validation.every else []
    features = Features()
    if config.loss.lpips > 0 or "lpips" in metrics:
        features.lpips = random_lpips() if config.loss.lpips_weights == "random" else _pretrained_lpips()
    if (config.loss.id > 0 or "id" in metrics) and config.loss.id_network != "none":
        features.embedder = _embedder(config.loss.id_network)
    return features


def build_loss(config: TrainConfig, features: Features) -> JointLoss:
    """The joint loss that `loss.*` describes."""
    weights = LossWeights(config.loss.l2, config.loss.lpips, config.loss.id, config.loss.edit)
    return JointLoss(weights, features.lpips, features.embedder, config.loss.l2_form, config.loss.edit_form)


def _pretrained_lpips() -> LPIPS:
    found = zoo.find_file(LPIPS_FILE)
    if found is None:
        looked = ", ".join(dict.fromkeys(str(folder) for folder in zoo.search_folders()))
        raise CheckpointError(
            f"LPIPS needs torchvision's AlexNet, {BACKBONE}, looked for in {looked}. Download it from "
            f"{BACKBONE_SOURCE} and put it there under this name, or set {zoo.ENVIRONMENT} to its folder. "
            "Without it: loss.lpips=0 with validation.metrics that leave lpips out, or loss.lpips_weights=random (for "
            "a first look; it is called lpips_random then)"
        )
    return pretrained_lpips(found)


def _embedder(name: str) -> nn.Module:
    if name in ROLES:
        try:
            bundle = read_frozen(name)  # checks the file's recorded hash as well
        except CheckpointError as error:
            raise CheckpointError(
                f"{error} To train without it: loss.id=0 loss.id_network=none and validation.metrics without id"
            ) from error
        return bundle.need(ROLES[name], f"loss.id_network={name}")
    if Path(name).is_file():
        return _any_embedder(read_bundle(name), name)
    raise CheckpointError(
        f"loss.id_network={name} is neither {', '.join(ROLES)}, none, nor a file ({Path(name).absolute()})"
    )


def _any_embedder(bundle: Bundle, name: str) -> nn.Module:
    able = [network for network in bundle.networks.values() if hasattr(network, "embed")]
    if len(able) != 1:
        raise CheckpointError(
            f"loss.id_network={name}: needs one network that embeds pictures, holds {', '.join(bundle.networks)}"
        )
    return able[0].eval().requires_grad_(False)
