"""The frozen networks that the losses and the validation metrics of a config look through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from sdic.errors import CheckpointError
from sdic.feature_networks import identity_network, perceptual_distance
from sdic.losses.joint import JointLoss, LossWeights
from sdic.training.config import TrainConfig


@dataclass
class Features:
    """lpips: a perceptual distance. embedder: an identity network. Both frozen, in eval mode; None where nothing in the
    config looks through them."""

    lpips: Any = None
    embedder: Any = None

    def to(self, device: torch.device) -> Features:
        """Move everything, in place."""
        for network in (self.lpips, self.embedder):
            if network is not None:
                network.to(device)
        return self


def build_features(config: TrainConfig) -> Features:
    """What the losses and the validation metrics of a config need, on the CPU. CheckpointError says which setting asks
    for a network that is not there, and how to train without it."""
    metrics = config.validation.metrics if config.validation.every else []
    features = Features()
    if config.loss.lpips > 0 or "lpips" in metrics:
        try:
            features.lpips = perceptual_distance(config.loss.lpips_weights)
        except CheckpointError as error:
            raise CheckpointError(
                f"loss.lpips_weights={config.loss.lpips_weights}: {error}. Without it: loss.lpips=0 with "
                "validation.metrics that leave lpips out, or loss.lpips_weights=random (for a first look; it is called "
                "lpips_random then)"
            ) from error
    if (config.loss.id > 0 or "id" in metrics) and config.loss.id_network != "none":
        try:
            features.embedder = identity_network(config.loss.id_network)
        except CheckpointError as error:
            raise CheckpointError(
                f"loss.id_network={config.loss.id_network}: {error}. Without it: loss.id=0 loss.id_network=none and "
                "validation.metrics without id"
            ) from error
    return features


def build_loss(config: TrainConfig, features: Features) -> JointLoss:
    """The joint loss that `loss.*` describes."""
    weights = LossWeights(config.loss.l2, config.loss.lpips, config.loss.id, config.loss.edit)
    return JointLoss(weights, features.lpips, features.embedder, config.loss.l2_form, config.loss.edit_form)
