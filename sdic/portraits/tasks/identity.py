"""The identity network, by ArcFace's margin loss: the same person across pose, smile, age, light and details.

Thousands of people with a few pictures each are a slow teacher, and it is known what makes a portrait's person: reading
those parameters off the embedding is learned beside it, and makes the first epochs count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.data.samples import Places, SamplesConfig
from sdic.losses.identity import arcface_loss
from sdic.networks.portrait_nets import PortraitEmbedder, PortraitEmbedderConfig
from sdic.portraits import vector_layout
from sdic.portraits.params import specs_of
from sdic.settings import require, section, setting
from sdic.training.config import OptimConfig, TrainingConfig
from sdic.training.distributed import World
from sdic.training.task import Entry, grid, register
from sdic.training.tasks.samples import SamplesTask

VIEWS = 4  # pictures of each unseen person in the evaluation


@dataclass
class PeopleConfig(SamplesConfig):
    """Pictures of people, each several times; `count` is not used."""

    people: int = setting(4000, "people")
    views: int = setting(8, "pictures of each")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.people >= 1 and self.views >= 1, "data.people and data.views must be at least 1")


@dataclass
class IdentityModelConfig:
    """The sizes of `PortraitEmbedder`."""

    size: int = setting(64, "pictures are brought to this size")
    blocks: list[int] = setting([1, 2, 2, 1], "blocks of its four stages")
    widths: list[int] = setting([32, 64, 96, 128], "channels of its four stages")
    embedding: int = setting(128, "width of the embedding")


@dataclass
class IdentityConfig(TrainingConfig):
    """The identity network."""

    data: PeopleConfig = section(PeopleConfig)
    optim: OptimConfig = section(
        OptimConfig, name="adam", lr=2e-3, fall=1.0, final=0.05, beta1=0.9, beta2=0.99, eps=1e-8, batch=64
    )
    model: IdentityModelConfig = section(IdentityModelConfig)
    margin: float = setting(0.3, "ArcFace's margin, radians")
    scale: float = setting(24.0, "scale of its softmax")
    margin_images: int = setting(64_000, "images over which the margin grows")
    traits: float = setting(5.0, "weight of the error with which what makes a person is read off the embedding")
    evaluate: int = setting(250, "unseen people, each in four pictures")

    def __post_init__(self) -> None:
        require(self.data.known, "the identity network needs several pictures of each person: data.source=portraits")


def trait_columns() -> list[int]:
    """The columns of the labels that make a person: those of the identity's parameters."""
    layout = vector_layout()
    return [column for spec in specs_of("identity") for column in range(*layout[spec.name].indices(10**6))]


def verification(embedding: Tensor, views: int) -> dict[str, float]:
    """Scores of all pairs of unit vectors [people * views, E], each person's views in a row.

    Returns the area under the ROC curve, the accuracy at the best threshold, and the mean cosine of pairs of the same
    person and of different people.
    """
    person = torch.arange(len(embedding), device=embedding.device) // views
    scores = embedding @ embedding.t()
    upper = torch.ones_like(scores, dtype=torch.bool).triu(1)
    alike = person[:, None] == person[None]
    same, different = scores[upper & alike], scores[upper & ~alike]
    return {
        "auc": area_under_curve(same, different),
        "accuracy": verification_accuracy(same, different),
        "cosine_same": float(same.mean()),
        "cosine_different": float(different.mean()),
    }


def area_under_curve(same: Tensor, different: Tensor) -> float:
    """Probability that a score of `same` [N] exceeds one of `different` [M] (ties count a half): 0 to 1."""
    order = torch.sort(different.double().cpu()).values
    mine = same.double().cpu()
    below = torch.searchsorted(order, mine, right=False)
    upto = torch.searchsorted(order, mine, right=True)
    return float((below + upto).double().mean() / 2 / len(order))


def verification_accuracy(same: Tensor, different: Tensor) -> float:
    """The best share of pairs, both kinds weighing the same, that one threshold on the scores gets right: 0.5 to 1."""
    places = torch.cat([same, different]).double().cpu().unique()
    hits = 1 - torch.searchsorted(torch.sort(same.double().cpu()).values, places) / len(same)
    rejects = torch.searchsorted(torch.sort(different.double().cpu()).values, places) / len(different)
    return float(((hits + rejects) / 2).max())


class IdentityTask(SamplesTask):
    """Trains a PortraitEmbedder."""

    name = "identity"
    bound = (*SamplesTask.bound, "data.people", "data.views")
    config: IdentityConfig

    def __init__(self, config: IdentityConfig, world: World):
        super().__init__(config, world)
        data, sizes = config.data, config.model
        pictures = -(-data.people * data.views // data.chunk) * data.chunk  # chunks are whole
        blocks: Any = tuple(sizes.blocks)
        widths: Any = tuple(sizes.widths)
        with self.weights_drawn(self.name):
            networks = {
                "embedder": PortraitEmbedder(PortraitEmbedderConfig(sizes.size, blocks, widths, sizes.embedding)),
                "centers": nn.Embedding(-(-pictures // data.views), sizes.embedding),  # ArcFace's class centres
                "reader": nn.Linear(sizes.embedding, len(trait_columns())),
            }
        self.networks = {role: self.trained(network) for role, network in networks.items()}
        self.averaged = ("embedder",)
        self.phases = self.only_phase()

    def prepare(self, stopped: Callable[[], bool]) -> None:
        data, count = self.config.data, self.config.evaluate * VIEWS
        self.samples = self.open({"kind": "people", "views": data.views}, data.people * data.views, stopped)
        self.unseen = self.open_unseen("people", count, stopped, views=VIEWS)
        traits = self.samples.labels[:, trait_columns()]
        self.traits = (traits - traits.mean(0)) / traits.std(0).clamp_min(1e-3)

    def loss(self, phase: str, batch: Places) -> dict[str, Tensor]:
        config, index = self.config, batch.index
        margin = config.margin * min(1.0, self.images / max(1, config.margin_images))
        with self.autocast():
            embedding = self.networks["embedder"](self.samples.batch(index))
        centers: Any = self.networks["centers"].weight
        arcface = arcface_loss(embedding.float(), centers, index // config.data.views, margin, config.scale)
        read = self.networks["reader"](embedding.float() * embedding.shape[1] ** 0.5)
        missed = F.mse_loss(read, self.traits[index])
        return {"loss": arcface + config.traits * missed, "arcface": arcface, "traits": missed}

    def evaluate(self) -> dict[str, float]:
        """Verification on unseen people: see `verification`."""
        people = len(self.unseen) // VIEWS
        embedding = self.unseen.through(self.average("embedder"))[: people * VIEWS]
        return {"unseen_people": float(people), **verification(embedding, VIEWS)}

    def picture(self) -> Tensor:
        """A row a person: one picture, and the seven nearest of all others."""
        embedding = self.unseen.through(self.average("embedder"))
        queries = torch.arange(0, min(len(embedding), 6 * VIEWS), VIEWS, device=self.device)
        nearest = (embedding[queries] @ embedding.t()).topk(min(8, len(embedding)), 1).indices
        return grid(self.unseen.batch(nearest.flatten()), nearest.shape[1])

    def exported(self) -> dict[str, nn.Module]:
        return {"portrait_embedder": self.average("embedder")}

    def outputs(self, networks: Mapping[str, Any]) -> Tensor:
        return networks["portrait_embedder"](self.unseen.first(16))


register("identity", Entry(IdentityConfig, IdentityTask, "portraits: the same person across pose, age and details"))
