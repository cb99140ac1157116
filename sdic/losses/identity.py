"""Identity: the term of eq. 7, and ArcFace. B batch, E embedding width, K classes; pictures [B, 3, H, W] in [-1, 1]."""

from __future__ import annotations

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor


class Embedder(Protocol):
    """Anything that turns pictures [B, 3, H, W] into unit vectors [B, E]."""

    def embed(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, E]."""


def identity_similarity(embedder: Embedder, photo: Tensor, output: Tensor) -> Tensor:
    """Cosine of the embeddings, [B] in [-1, 1]. The photo's carries no gradient."""
    with torch.no_grad():
        target = embedder.embed(photo)
    return (embedder.embed(output) * target).sum(1)


def identity_loss(embedder: Embedder, photo: Tensor, output: Tensor) -> Tensor:
    """1 - <f(I), f(R_f)>, averaged over the batch: a scalar in [0, 2]."""
    return 1 - identity_similarity(embedder, photo, output).mean()


def arcface_loss(embedding: Tensor, centers: Tensor, label: Tensor, margin: float, scale: float) -> Tensor:
    """ArcFace (Deng et al. 2019): cross-entropy of scale * cos(theta + margin at the true class).

    embedding [B, E], unit norm; centers [K, E], any norm; label [B] int64. Beyond theta = pi - margin the cosine would
    rise again; there the penalty goes on as a straight line, as in the authors' code.
    """
    cosine = (embedding @ F.normalize(centers).t()).clamp(-1 + 1e-6, 1 - 1e-6)
    own = cosine.gather(1, label[:, None])
    theta = torch.acos(own)
    turned = torch.where(
        theta + margin < torch.pi, torch.cos(theta + margin), own - margin * torch.sin(torch.tensor(margin)).item()
    )
    return F.cross_entropy(scale * cosine.scatter(1, label[:, None], turned), label)
