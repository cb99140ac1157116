"""What a training step of a method gives to the loss, and what it is given.

Shapes: B batch, H and W input size, R output size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sdic.types import Geometry, Inversion


@dataclass(frozen=True)
class Step:
    """images: that came before this step, for what changes with progress. weights: of the method's own terms (its
    `Losses`), by name; one of weight 0 need not be computed. settings: the training's `model`, with the method's own.

    Random numbers are torch's: the training seeds them anew for each step, so that a resumed run draws the same.
    """

    images: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    settings: Any = None


@dataclass(frozen=True)
class TrainingPass:
    """inversion: of the photos; the editing loss looks at its codes and features.
    pairs: (target [B, 3, H, W] in [-1, 1] at the input size, output [B, 3, R, R]) of every picture that the other terms
    of the joint loss compare: its mean over all pairs counts, or with `summed` their sum.
    terms: scalars of the method's own by the names of its `Losses`, before their weights.
    fooling: of how many of the first pairs the outputs have to fool a discriminator, where the training has one.
    last: whether it is the last pass of a step, whose terms are written down."""

    inversion: Inversion
    pairs: Sequence[tuple[Tensor, Tensor]]
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    last: bool = True
    summed: bool = False
    fooling: int = 1

    def compared(self, geometry: Geometry) -> tuple[Tensor, Tensor]:
        """(targets, outputs) of all pairs one below the other, [P * B, 3, H, W] each, outputs at the input size."""
        targets = [target for target, _ in self.pairs]
        outputs = [geometry.at_input_size(output) for _, output in self.pairs]
        return torch.cat(targets), torch.cat(outputs)

    @property
    def share(self) -> int:
        """By what the mean over the pairs is multiplied: 1, or with `summed` their number."""
        return len(self.pairs) if self.summed else 1
