"""The attribute network: yaw, smile and age from a picture, and features that know what a portrait is made of.

It is trained on portraits with and without details, on every parameter at once: the three attributes are what edits are
measured with, the rest makes its features see skin, hair, light and glasses alike, as a perceptual distance has to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.data.portraits import VECTOR_SIZE, vector_layout, vector_to_params
from sdic.data.portraits.params import field_spec
from sdic.errors import ConfigError
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet
from sdic.pretraining.bank import LABELS, Bank, Recipe, open_bank
from sdic.pretraining.config import AttributesConfig
from sdic.pretraining.exporting import export, grid
from sdic.pretraining.stage import Stage

NAMES = ("yaw", "smile", "age")
CENTERS, SPANS = (0.0, 0.0, 45.0), (18.0, 0.5, 20.0)


def attribute_values(labels: Tensor) -> Tensor:
    """Labels [N, P] of a bank -> yaw (degrees), smile (-1..1), age (years): [N, 3]."""
    params = vector_to_params(labels[:, :VECTOR_SIZE])
    return torch.stack([getattr(params, name) for name in NAMES], 1)


def binary_columns() -> Tensor:
    """Boolean [LABELS]: the columns of a bank's labels that are 0 or 1 (choices and details), not amounts."""
    binary = torch.ones(LABELS, dtype=torch.bool)
    for name, places in vector_layout().items():
        binary[places] = bool(field_spec(name).choices)
    return binary


def attribute_loss(network: AttributeNet, picture: Tensor, labels: Tensor, rest: float) -> dict[str, Tensor]:
    """Huber loss on the attributes and, weighted by `rest`, on all other parameters (cross-entropy for choices)."""
    found = network.outputs(network.pooled(picture)).float()
    split = len(network.config.names)
    attributes = F.smooth_l1_loss(found[:, :split], network.normalised(attribute_values(labels)), beta=0.1)
    binary = binary_columns().to(labels.device)
    others = found[:, split:]
    amounts = F.smooth_l1_loss(others[:, ~binary], labels[:, ~binary], beta=0.1)
    choices = F.binary_cross_entropy_with_logits(others[:, binary], labels[:, binary])
    return {
        "loss": attributes + rest * (amounts + choices),
        "attributes": attributes,
        "amounts": amounts,
        "choices": choices,
    }


@torch.no_grad()
def estimates(network: Any, bank: Bank, batch: int = 64) -> Tensor:
    """The attributes [N, 3] that a network in eval mode reads off a bank's pictures."""
    places = torch.arange(len(bank), device=bank.pictures.device).split(batch)
    return torch.cat([network(bank.batch(index)) for index in places])


class AttributesStage(Stage):
    """Trains an AttributeNet."""

    name = "attributes"
    config: AttributesConfig

    def prepare(self, deadline: float, say: Any) -> None:
        config, data = self.config, self.config.data
        if data.source != "portraits":
            raise ConfigError("the attribute network needs pictures whose attributes are known: data.source=portraits")
        if data.resolution < 2 ** (len(config.model.widths) - 1) * 4:
            raise ConfigError(f"pictures of {data.resolution} px are too small for {len(config.model.widths)} stages")
        self.bank = open_bank(
            data, Recipe("split", data.resolution, data.chunk), data.count, self.device, deadline, say
        )
        unseen = Recipe("split", data.resolution, min(data.chunk, config.evaluate), split="validation")
        self.unseen = open_bank(data, unseen, config.evaluate, self.device, deadline, say)
        sizes = AttributeConfig(NAMES, CENTERS, SPANS, LABELS, tuple(config.model.widths), config.model.hidden)
        self.network = AttributeNet(sizes)
        self.place(self.network)
        self.networks = {"attributes": self.network}
        self.average("attributes")
        self.optimizers = {"attributes": self.adam(self.network.parameters(), config.optim)}

    def step(self, step: int) -> dict[str, Tensor]:
        index = self.bank.draw(self.run.batch)
        return self.update(self.bank.batch(index), self.bank.labels[index])

    def update(self, picture: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """One step on given pictures."""
        self.network.train()
        with self.autocast():
            terms = attribute_loss(self.network, picture, labels, self.config.rest)
        self.optimizers["attributes"].zero_grad(set_to_none=True)
        terms["loss"].backward()
        self.optimizers["attributes"].step()
        return terms

    def evaluate(self) -> dict[str, float]:
        """Mean absolute errors on unseen people with unseen combinations of details, beside those of guessing."""
        truth = attribute_values(self.unseen.labels)
        errors = (estimates(self.shown("attributes"), self.unseen) - truth).abs().mean(0)
        guesses = (truth - truth.median(0).values).abs().mean(0)
        values = {"unseen_portraits": float(len(truth))}
        for name, error, guess in zip(NAMES, errors.tolist(), guesses.tolist(), strict=True):
            values |= {f"{name}_error": error, f"{name}_error_of_guessing": guess}
        return values

    def picture(self) -> Tensor:
        """Three rows: unseen portraits in the order of their estimated yaw, smile, age."""
        count = min(len(self.unseen), 48)
        few = Bank(self.unseen.pictures[:count], self.unseen.labels[:count])
        found = estimates(self.shown("attributes"), few)
        pictures = few.batch(torch.arange(count, device=self.device))
        step = max(1, count // 12)
        rows = [pictures[found[:, i].argsort()][::step][:12] for i in range(len(NAMES))]
        return grid(torch.cat(rows), len(rows[0]))

    def export(self, folder: Path) -> list[Path]:
        path = folder / "attributes.safetensors"
        pictures = self.unseen.batch(torch.arange(min(16, len(self.unseen)), device=self.device))
        networks = {"attribute_net": self.shown("attributes")}
        export(path, networks, lambda n: n["attribute_net"](pictures) / pictures.new_tensor(SPANS), self.source)
        return [path]
