"""A discriminator of pictures beside the training of a method: StyleGAN2's, of the size that the losses look at.

It learns behind the method in every step, from the very pictures that the method has just drawn. B batch.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from sdic.bundles import read_frozen
from sdic.errors import ConfigError
from sdic.losses.adversarial import critic_loss, fooling_loss, r1_penalty
from sdic.networks.discriminator import Discriminator
from sdic.networks.stylegan2 import GeneratorConfig
from sdic.training.task import Phase, Task
from sdic.types import Geometry


class PictureCritic:
    """The discriminator of a task whose settings have `loss.adversarial` and what goes with it."""

    PHASES = ("discriminator", "discriminator_r1")

    def __init__(self, task: Task, geometry: Geometry):
        """ConfigError where its file is for pictures of another size than the photos."""
        self.config = task.config.loss
        self.network: Any = task.trained(_network(self.config, geometry))
        self._drawn: dict[int, Tensor] = {}  # by the batch that they were drawn for

    def phases(self) -> list[Phase]:
        """Its own steps, which come after the method's."""
        config = self.config
        adam = torch.optim.Adam(self.network.parameters(), config.discriminator_lr, (0.9, 0.999))
        first, role = config.adversarial_from, ("discriminator",)
        return [
            Phase("discriminator", role, adam, start=first),
            Phase("discriminator_r1", role, adam, config.discriminator_r1_every, first),
        ]

    def fooling(self, drawn: Tensor, batch: object) -> Tensor:
        """What the method's pictures [B, 3, H, W] lose by being told from photos: a scalar. They are kept for the
        discriminator's own turn."""
        self._drawn[id(batch)] = drawn.detach()
        return fooling_loss(self.network(drawn.float()))

    def loss(self, phase: str, photo: Tensor, batch: object) -> dict[str, Tensor]:
        """The loss of one of its phases; photo [B, 3, H, W]."""
        if phase == "discriminator":
            drawn = self._drawn.pop(id(batch))
            return {"loss": critic_loss(self.network(photo), self.network(drawn.float())) / 2}
        weight = self.config.discriminator_r1 / 2 * self.config.discriminator_r1_every
        return {"loss": weight * r1_penalty(self.network, photo)}


def _network(config: Any, geometry: Geometry) -> nn.Module:
    side, file = max(geometry.input_size), config.discriminator
    if min(geometry.input_size) != side or side < 8 or side != 1 << int(math.log2(side)):
        height, width = geometry.input_size
        raise ConfigError(f"loss.adversarial asks for square photos of 8, 16, 32 ... px; these are {width}x{height}")
    if not file:
        return Discriminator(GeneratorConfig(side, channel_max=config.discriminator_channels))
    found: Any = read_frozen(file).require("discriminator", f"loss.discriminator={file}")
    if found.config.resolution != side:
        raise ConfigError(
            f"loss.discriminator={file} looks at pictures of {found.config.resolution} px, the losses at {side} px"
        )
    return found
