"""The L2 term of eq. 7. Shapes: B batch; pictures [B, 3, H, W] in [-1, 1]."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

L2Form = Literal["mse", "euclidean"]


def l2_loss(photo: Tensor, output: Tensor, form: L2Form = "mse") -> Tensor:
    """Distance of two batches, a scalar: the mean squared error, which is what every table of the field prints, or the
    Euclidean norm of each picture's difference, averaged over the batch, as the paper's text says."""
    squares = (output - photo).square()
    return squares.mean() if form == "mse" else squares.flatten(1).sum(1).sqrt().mean()
