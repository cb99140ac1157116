"""The losses of StyleGAN2's training, functions of tensors. B batch, H and W size, L latent rows, D style width."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Critic = Callable[[Tensor], Tensor]


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Logistic loss of a discriminator with logits [B, 1]: mean softplus(-real) + mean softplus(fake)."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def fooling_loss(fake: Tensor) -> Tensor:
    """The non-saturating generator loss, mean softplus(-fake), for logits [B, 1]."""
    return F.softplus(-fake).mean()


def r1_penalty(critic: Critic, real: Tensor) -> Tensor:
    """E |grad D(x)|^2 over real inputs [B, ...] (Mescheder et al. 2018); the caller weights it by gamma / 2."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def path_lengths(picture: Tensor, latent: Tensor, noise: Tensor | None = None) -> Tensor:
    """|J^T y| of StyleGAN2's path-length regulariser: pictures [B, 3, H, W] drawn from `latent` [B, L, D] -> [B].

    y is normal `noise` [B, 3, H, W] (None: drawn here) over sqrt(H W); the square is summed over D and averaged over
    the rows that w was copied to.
    """
    y = (torch.randn_like(picture) if noise is None else noise) / (picture.shape[2] * picture.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((picture * y).sum(), latent, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor, decay: float, average: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """E (|J^T y| - a)^2 and the new a, the running mean of the lengths [B]. The mean carries no gradient.

    average: the lengths' mean over all processes (None: over these).
    """
    mean = torch.lerp(mean, lengths.detach().mean() if average is None else average, decay)
    return (lengths - mean).square().mean(), mean
