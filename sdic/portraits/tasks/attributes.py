"""The attribute network: yaw, smile and age from a picture, and features that know what a portrait is made of.

It is trained on portraits with and without details, on every parameter at once: the three attributes are what edits are
measured with, the rest makes its features see skin, hair, light and glasses alike, as a perceptual distance has to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.data.samples import Places, SamplesConfig
from sdic.errors import ConfigError
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet
from sdic.portraits import VECTOR_SIZE, vector_layout, vector_to_params
from sdic.portraits.params import field_spec
from sdic.portraits.samples import LABELS
from sdic.settings import require, section, setting
from sdic.training.config import OptimConfig, TrainingConfig
from sdic.training.distributed import World
from sdic.training.task import Entry, grid, register
from sdic.training.tasks.samples import SamplesTask

NAMES = ("yaw", "smile", "age")
CENTERS, SPANS = (0.0, 0.0, 45.0), (18.0, 0.5, 20.0)


@dataclass
class AttributeModelConfig:
    """The sizes of `AttributeNet`."""

    widths: list[int] = setting([32, 48, 64, 96, 128], "channels of its stages")
    hidden: int = setting(256, "width of the Fréchet feature")


@dataclass
class AttributesConfig(TrainingConfig):
    """The attribute and perceptual network."""

    data: SamplesConfig = section(SamplesConfig)
    optim: OptimConfig = section(
        OptimConfig, name="adam", lr=2e-3, fall=1.0, final=0.05, beta1=0.9, beta2=0.99, eps=1e-8, batch=64
    )
    model: AttributeModelConfig = section(AttributeModelConfig)
    rest: float = setting(0.5, "weight of the errors of all other parameters")
    evaluate: int = setting(1000, "unseen portraits that the errors are measured on")

    def __post_init__(self) -> None:
        require(self.data.known, "the attribute network needs pictures with known attributes: data.source=portraits")


def attribute_values(labels: Tensor) -> Tensor:
    """Labels [N, P] of portraits -> yaw (degrees), smile (-1..1), age (years): [N, 3]."""
    params = vector_to_params(labels[:, :VECTOR_SIZE])
    return torch.stack([getattr(params, name) for name in NAMES], 1)


def binary_columns() -> Tensor:
    """Boolean [LABELS]: the columns of the labels that are 0 or 1 (choices and details), not amounts."""
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
    loss = attributes + rest * (amounts + choices)
    return {"loss": loss, "attributes": attributes, "amounts": amounts, "choices": choices}


class AttributesTask(SamplesTask):
    """Trains an AttributeNet."""

    name = "attributes"
    config: AttributesConfig

    def __init__(self, config: AttributesConfig, world: World):
        super().__init__(config, world)
        model = config.model
        if config.data.resolution < 2 ** (len(model.widths) - 1) * 4:
            raise ConfigError(
                f"pictures of {config.data.resolution} px are too small for {len(model.widths)} stages; "
                "name fewer model.widths"
            )
        with self.weights_drawn(self.name):
            sizes = AttributeConfig(NAMES, CENTERS, SPANS, LABELS, tuple(model.widths), model.hidden)
            self.network: Any = self.trained(AttributeNet(sizes))
        self.networks = {"attributes": self.network}
        self.averaged = ("attributes",)
        self.phases = self.only_phase()

    def prepare(self, stopped: Callable[[], bool]) -> None:
        self.samples = self.open({"kind": "split"}, self.config.data.count, stopped)
        self.unseen = self.open_unseen("split", self.config.evaluate, stopped)

    def loss(self, phase: str, batch: Places) -> dict[str, Tensor]:
        with self.autocast():
            picture, labels = self.samples.batch(batch.index), self.samples.labels[batch.index]
            return attribute_loss(self.network, picture, labels, self.config.rest)

    def evaluate(self) -> dict[str, float]:
        """Mean absolute errors on unseen people with unseen combinations of details, beside those of guessing."""
        truth = attribute_values(self.unseen.labels)
        errors = (self.unseen.through(self.average("attributes")) - truth).abs().mean(0)
        guesses = (truth - truth.median(0).values).abs().mean(0)
        values = {"unseen_portraits": float(len(truth))}
        for name, error, guess in zip(NAMES, errors.tolist(), guesses.tolist(), strict=True):
            values |= {f"{name}_error": error, f"{name}_error_of_guessing": guess}
        return values

    def picture(self) -> Tensor:
        """Three rows: unseen portraits in the order of their estimated yaw, smile, age."""
        pictures = self.unseen.first(48)
        found = self.average("attributes")(pictures)
        step = max(1, len(pictures) // 12)
        rows = [pictures[found[:, i].argsort()][::step][:12] for i in range(len(NAMES))]
        return grid(torch.cat(rows), len(rows[0]))

    def exported(self) -> dict[str, nn.Module]:
        return {"attribute_net": self.average("attributes")}

    def outputs(self, networks: Mapping[str, Any]) -> Tensor:
        pictures = self.unseen.first(16)
        return networks["attribute_net"](pictures) / pictures.new_tensor(SPANS)


register(
    "attributes",
    Entry(AttributesConfig, AttributesTask, "portraits: yaw, smile and age; features of a perceptual distance"),
)
