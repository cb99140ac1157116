"""Amounts in the unit of what measures them: `age=20` as twenty years, photo by photo, where a network measures age.

B pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.editing.amounts import Response, respond
from sdic.evaluation.metrics import at_input_size
from sdic.feature_networks import attribute_network, missing_file
from sdic.methods import Inverter
from sdic.types import Inversion

NONE = "none"
"""The word for no network: amounts are strengths, in the direction's own unit."""


@dataclass(frozen=True)
class Amount:
    """What became of an amount. asked: in `unit`. strength: of the direction, for this photo. reached: by how much the
    attribute was measured to move. out_of_reach: no strength that was tried gets there, and the closest is taken."""

    asked: float
    strength: float
    reached: float
    out_of_reach: bool
    unit: str


def network_of(domain: str | None, chosen: str = "") -> str:
    """The name of the network that measures a domain's attributes, or the chosen one; "" for none, and where the
    domain's file is not here."""
    if chosen:
        return "" if chosen == NONE else chosen
    name = DOMAINS[domain].attributes if domain in DOMAINS else ""
    return "" if not name or missing_file(name) else name


class Measurer:
    """Measures attributes with the network of a model or file; CheckpointError where it is none."""

    def __init__(self, name: str, device: torch.device):
        self._network = attribute_network(name).to(device)
        self.names: Sequence[str] = tuple(self._network.config.names)

    def measures(self, direction: Direction) -> bool:
        """Whether amounts of a direction are in what is measured: its name is an attribute, its unit is said, and
        strength 0 is no edit. Of a plain file nobody knows what its name means."""
        return direction.name in self.names and bool(direction.unit) and direction.kind != "set"

    @torch.no_grad()
    def value(self, name: str, images: Tensor, inverter: Inverter) -> Tensor:
        """An attribute of outputs [B, 3, R, R] of an inverter: [B], in its unit."""
        return self._network(at_input_size(images, inverter.geometry))[:, self.names.index(name)].cpu()

    def response(
        self, inverter: Inverter, inversion: Inversion, direction: Direction, asked: Sequence[float], **options: Any
    ) -> Response:
        """The strengths for amounts of a direction, of one inverted photo. options: of the edit."""
        start = self.value(direction.name, inversion.image.to(inverter.device), inverter)

        def move(strengths: list[float]) -> list[float]:
            images = inverter.edit(inversion, direction, strengths, **options)
            return (self.value(direction.name, images, inverter) - start).tolist()

        return respond(asked, move, sweep=True)

    def strengths(
        self, inverter: Inverter, inversion: Inversion, direction: Direction, asked: Sequence[float], **options: Any
    ) -> list[float]:
        """The strength for each amount: of one photo any number of amounts, of several one each."""
        if len(inversion) == 1:
            response = self.response(inverter, inversion, direction, asked, **options)
            return [response.strengths[amount][0] for amount in asked]
        if len(asked) != len(inversion):
            raise ValueError(f"{len(inversion)} inversions do not go with {len(asked)} amounts")
        own = [
            self.response(inverter, inversion[index], direction, [amount], **options)
            for index, amount in enumerate(asked)
        ]
        return [response.strengths[amount][0] for response, amount in zip(own, asked, strict=True)]

    def amounts(
        self, inverter: Inverter, inversion: Inversion, direction: Direction, asked: Sequence[float], **options: Any
    ) -> list[Amount]:
        """What becomes of amounts of a direction, of one inverted photo."""
        response = self.response(inverter, inversion, direction, asked, **options)
        taken = [response.strengths[amount] for amount in asked]
        start = self.value(direction.name, inversion.image.to(inverter.device), inverter)
        images = inverter.edit(inversion, direction, [strength for strength, _ in taken], **options)
        moved = (self.value(direction.name, images, inverter) - start).tolist()
        return [
            Amount(amount, strength, reached, missed, direction.unit)
            for amount, (strength, missed), reached in zip(asked, taken, moved, strict=True)
        ]
