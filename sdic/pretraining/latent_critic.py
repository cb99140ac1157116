"""The training of e4e's latent discriminator: what it gets of W and of the encoder's codes, and one step of it.

Shapes: B batch, D style width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdic.networks.portrait_nets import LatentCritic
from sdic.pretraining.config import EncoderConfig
from sdic.pretraining.losses import critic_loss, r1_penalty


class CriticTraining:
    """LatentCritic with its optimiser and its memory.

    pools: "real" and "fake", codes [pool, D] that came before; what a step depends on beside weights and optimiser.
    """

    def __init__(self, config: EncoderConfig, style_dim: int, device: torch.device):
        self.config = config
        self.critic = LatentCritic(style_dim).to(device)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), config.critic_lr)
        self.pools = {name: torch.zeros(config.pool, style_dim, device=device) for name in ("real", "fake")}

    def update(self, real: Tensor, fake: Tensor, step: int) -> Tensor:
        """One step on codes [B, D] of the mapping network and of the encoder; its loss, 2 log 2 = 1.386 for guessing.

        step: of the run, from 0. Every batch is of one size, so that the step says how full the pools are.
        """
        config = self.config
        before = step * len(fake)
        real, fake = (through_pool(self.pools[name], fresh, before) for name, fresh in (("real", real), ("fake", fake)))
        loss = critic_loss(self.critic(real), self.critic(fake))
        self._apply(loss)
        if step % config.critic_r1_every == 0:
            self._apply(config.critic_r1 / 2 * config.critic_r1_every * r1_penalty(self.critic, real))
        return loss.detach()

    def _apply(self, loss: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()


def through_pool(pool: Tensor, fresh: Tensor, before: int) -> Tensor:
    """Codes [B, D] of which each is, with chance 1/2, exchanged for one of the pool, whose place it takes: what was
    learned of older codes is not forgotten. The first codes fill the pool [P, D], which is changed in place.

    before: how many codes have come before.
    """
    size = len(pool)
    room = min(max(0, size - before), len(fresh))
    pool[before : before + room] = fresh[:room]
    if size == 0 or room == len(fresh):
        return fresh
    result = fresh.clone()
    chosen = room + torch.nonzero(torch.rand(len(fresh) - room, device=fresh.device) < 0.5)[:, 0][:size]
    place = torch.randperm(size, device=fresh.device)[: len(chosen)]
    result[chosen] = pool[place]
    pool[place] = fresh[chosen]
    return result
