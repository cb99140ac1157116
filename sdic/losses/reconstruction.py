"""Errors of pixels. Shapes: B batch; pictures [B, 3, H, W] in [-1, 1]."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

L2Form = Literal["mse", "euclidean"]


def l2_loss(photo: Tensor, output: Tensor, form: L2Form = "mse") -> Tensor:
    """Distance of two batches, a scalar: the mean squared error, which is what every table of the field prints, or the
    Euclidean norm of each picture's difference, averaged over the batch, as the paper's text says."""
    squares = (output - photo).square()
    return squares.mean() if form == "mse" else squares.flatten(1).sum(1).sqrt().mean()


def face_weight(size: int, face: float, device: torch.device | str = "cpu") -> Tensor:
    """[1, 1, size, size], mean 1: the weight of a pixel, `face` times as high over the face as at the rim.

    A fixed bell over the middle of the picture, a little above centre, where a portrait has its eyes and mouth (yaw and
    pitch move them by less than its width).
    """
    place = (torch.arange(size, device=device) + 0.5) / size
    rows, columns = (place - 0.47) / 0.20, (place - 0.5) / 0.18
    bell = torch.exp(-0.5 * (rows.square()[:, None] + columns.square()[None]))
    weight = 1 + (face - 1) * bell
    return (weight / weight.mean())[None, None]


def pixel_loss(output: Tensor, target: Tensor, weight: Tensor, l2: float, l1: float) -> Tensor:
    """l2 * mean(weight * d^2) + l1 * mean(weight * |d|) for pictures [B, 3, H, W]; weight [1 or B, 1, H, W]."""
    apart = output - target
    return (weight * (l2 * apart.square() + l1 * apart.abs())).mean()
