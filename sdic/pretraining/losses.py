"""The losses of StyleGAN2, ArcFace and the supervised stage, each a function of tensors.

Shapes: B batch, H and W size, L latent rows, D style width, E embedding width, K classes.
"""

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


def path_lengths(picture: Tensor, latent: Tensor) -> Tensor:
    """|J^T y| of StyleGAN2's path-length regulariser: pictures [B, 3, H, W] drawn from `latent` [B, L, D] -> [B].

    y is normal noise over sqrt(H W); the square is summed over D and averaged over the rows that w was copied to.
    """
    noise = torch.randn_like(picture) / (picture.shape[2] * picture.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad((picture * noise).sum(), latent, create_graph=True)
    return gradient.square().sum(2).mean(1).sqrt()


def path_penalty(lengths: Tensor, mean: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """E (|J^T y| - a)^2 and the new a, the running mean of the lengths [B]. The mean carries no gradient."""
    mean = torch.lerp(mean, lengths.detach().mean(), decay)
    return (lengths - mean).square().mean(), mean


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
