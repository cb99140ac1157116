"""The parsing loss: two pictures have their parts at the same places. B batch; pictures [B, 3, H, W] in [-1, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Parser = Callable[[Tensor], Sequence[Tensor]]
"""Pictures [B, 3, H, W] -> parsings, [B, K, h, w] each."""


def parsing_loss(parser: Parser, photo: Tensor, output: Tensor) -> Tensor:
    """The sum over parsings of 1 - cosine, each parsing as one vector, averaged over the batch: a scalar. The photo's
    carry no gradient."""
    with torch.no_grad():
        wanted = parser(photo)
    pairs = zip(parser(output), wanted, strict=True)
    return torch.stack([1 - F.cosine_similarity(a.flatten(1), b.flatten(1)) for a, b in pairs]).sum(0).mean()
