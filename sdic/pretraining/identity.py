"""The identity network, by ArcFace's margin loss: the same person across pose, smile, age, light and details.

Thousands of people with a few pictures each are a slow teacher, and it is known what makes a portrait's person: reading
those parameters off the embedding is learned beside it, and makes the first epochs count.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.data.portraits import vector_layout
from sdic.data.portraits.params import specs_of
from sdic.errors import ConfigError
from sdic.networks.portrait_nets import PortraitEmbedder, PortraitEmbedderConfig
from sdic.pretraining.bank import Recipe, open_bank
from sdic.pretraining.config import IdentityConfig
from sdic.pretraining.exporting import export, grid
from sdic.pretraining.losses import arcface_loss, area_under_curve, verification_accuracy
from sdic.pretraining.stage import Stage

SEEN = 4  # pictures of each unseen person in the evaluation


class Centers(nn.Module):
    """ArcFace's class centres: `weight` [K, E]."""

    def __init__(self, classes: int, embedding: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(classes, embedding))


def trait_columns() -> list[int]:
    """The columns of a bank's labels that make a person: those of the identity's parameters."""
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


class IdentityStage(Stage):
    """Trains a PortraitEmbedder."""

    name = "identity"
    config: IdentityConfig

    def prepare(self, deadline: float, say: Any) -> None:
        config, data = self.config, self.config.data
        if data.source != "portraits":
            raise ConfigError("the identity network needs several pictures of each person: data.source=portraits")
        recipe = Recipe("people", data.resolution, data.chunk, views=data.views)
        self.bank = open_bank(data, recipe, data.people * data.views, self.device, deadline, say)
        count = config.evaluate * SEEN
        unseen = Recipe("people", data.resolution, min(data.chunk, count), split="validation", views=SEEN)
        self.unseen = open_bank(data, unseen, count, self.device, deadline, say)
        sizes = config.model
        network = PortraitEmbedder(
            PortraitEmbedderConfig(sizes.size, tuple(sizes.blocks), tuple(sizes.widths), sizes.embedding)  # type: ignore[arg-type]
        )
        centers = Centers(-(-len(self.bank) // data.views), sizes.embedding)
        self.network: nn.Module = self.place(network)
        self.centers = centers.to(self.device)
        traits = self.bank.labels[:, trait_columns()]
        self.traits = (traits - traits.mean(0)) / traits.std(0).clamp_min(1e-3)
        self.reader = nn.Linear(sizes.embedding, traits.shape[1]).to(self.device)
        self.networks = {"embedder": self.network, "centers": self.centers, "reader": self.reader}
        self.average("embedder")
        parameters = [p for network in self.networks.values() for p in network.parameters()]
        self.optimizers = {"embedder": self.adam(parameters, config.optim)}

    def step(self, step: int) -> dict[str, Tensor]:
        return self.update(self.bank.draw(self.run.batch), step)

    def update(self, index: Tensor, step: int) -> dict[str, Tensor]:
        """One step on pictures `index` [B] of the bank."""
        config = self.config
        picture, person, traits = self.bank.batch(index), index // config.data.views, self.traits[index]
        margin = config.margin * min(1.0, step / max(1, config.margin_steps))
        self.network.train()
        with self.autocast():
            embedding = self.network(picture)
        arcface = arcface_loss(embedding.float(), self.centers.weight, person, margin, config.scale)
        read = self.reader(embedding.float() * embedding.shape[1] ** 0.5)
        missed = F.mse_loss(read, traits)
        loss = arcface + config.traits * missed
        self.optimizers["embedder"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers["embedder"].step()
        return {"loss": loss, "arcface": arcface, "traits": missed}

    @torch.no_grad()
    def _unseen_embeddings(self) -> Tensor:
        network = self.shown("embedder")
        places = torch.arange(len(self.unseen), device=self.device).split(64)
        return torch.cat([network(self.unseen.batch(index)) for index in places])

    def evaluate(self) -> dict[str, float]:
        """Verification on unseen people: see `verification`."""
        people = len(self.unseen) // SEEN
        return {"unseen_people": float(people), **verification(self._unseen_embeddings()[: people * SEEN], SEEN)}

    def picture(self) -> Tensor:
        """A row a person: one picture, and the seven nearest of all others."""
        embedding = self._unseen_embeddings()
        queries = torch.arange(0, min(len(embedding), 6 * SEEN), SEEN, device=self.device)
        nearest = (embedding[queries] @ embedding.t()).topk(min(8, len(embedding)), 1).indices
        return grid(self.unseen.batch(nearest.flatten()), nearest.shape[1])

    def export(self, folder: Path) -> list[Path]:
        path = folder / "identity.safetensors"
        pictures = self.unseen.batch(torch.arange(min(16, len(self.unseen)), device=self.device))
        networks = {"portrait_embedder": self.shown("embedder")}
        export(path, networks, lambda n: n["portrait_embedder"](pictures), self.source)
        return [path]
