"""The identity term of eq. 7. Shapes: B batch, E embedding width; pictures [B, 3, H, W] in [-1, 1]."""

from __future__ import annotations

from typing import Protocol

import torch
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
