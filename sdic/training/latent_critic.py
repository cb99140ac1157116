"""e4e's latent discriminator (Tov et al. 2021) beside the training of a method: it tells the method's codes from W's.

Shapes: B batch, L latent rows, D style width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sdic.losses.adversarial import critic_loss, fooling_loss, r1_penalty
from sdic.networks.portrait_nets import LatentCritic
from sdic.training.task import Phase, Task


class CodeCritic:
    """The discriminator of a task whose settings have `loss.critic` and what goes with it. It learns before the method
    in every step, from pools in which older codes of both kinds are remembered."""

    PHASES = ("critic", "critic_r1")

    def __init__(self, task: Task, generator: Any):
        self.task, self.generator, self.config = task, generator, task.config.loss
        width = generator.config.style_dim
        self.network: Any = task.trained(LatentCritic(width))
        # What a step depends on beside the network belongs to the task, which saves it and gets it back.
        task.extra |= {name: torch.zeros(self.config.pool, width, device=task.device) for name in ("real", "fake")}
        task.extra["coded"] = torch.zeros((), dtype=torch.int64, device=task.device)  # codes that have come before

    def phases(self) -> list[Phase]:
        """Its own steps, which come before the method's."""
        adam = torch.optim.Adam(self.network.parameters(), self.config.critic_lr)
        return [Phase("critic", ("critic",), adam), Phase("critic_r1", ("critic",), adam, self.config.critic_r1_every)]

    def loss(self, phase: str, code: Tensor) -> dict[str, Tensor]:
        """The loss of one of its phases, of the method's codes [B, rows, D]."""
        if phase == "critic":
            real, fake = remembered(self.task, self.of_w, code)
            return {"loss": critic_loss(self.network(real), self.network(fake))}
        weight = self.config.critic_r1 / 2 * self.config.critic_r1_every
        return {"loss": weight * r1_penalty(self.network, self.of_w(len(code)))}

    def fooling(self, code: Tensor) -> Tensor:
        """The loss by which the method's codes [B, rows, D] pass for codes of W: a scalar."""
        return fooling_loss(self.network(code.flatten(0, 1)))

    @torch.no_grad()
    def of_w(self, count: int) -> Tensor:
        """Codes [count, D] of random z."""
        return self.generator.mapping(self.task.randn(count, self.generator.config.style_dim))


@torch.no_grad()
def remembered(task: Task, own_codes: Callable[[int], Tensor], code: Tensor) -> tuple[Tensor, Tensor]:
    """(real, fake) codes [B, D], of W and of an encoder's [B, rows, D], a row of each drawn at random; both through
    the pools in the task's `extra`, which all processes fill alike.

    own_codes: count -> codes [count, D] of random z."""
    count, extra = len(code), task.extra
    row = (task.rand(count) * code.shape[1]).long()
    fresh = {"real": own_codes(count), "fake": code[torch.arange(count, device=code.device), row]}
    before = int(extra["coded"])
    extra["coded"] += count * task.world.size
    real, fake = (
        task.mine(through_pool(extra[name], task.world.together(fresh[name]), before, task.draw))
        for name in ("real", "fake")
    )
    return real, fake


def through_pool(pool: Tensor, fresh: Tensor, before: int, draw: torch.Generator | None = None) -> Tensor:
    """Codes [B, D] of which each is, with chance 1/2, exchanged for one of the pool, whose place it takes: what was
    learned of older codes is not forgotten. The first codes fill the pool [P, D], which is changed in place.

    before: how many codes have come before. draw: where the chances come from.
    """
    size, device = len(pool), fresh.device
    room = min(max(0, size - before), len(fresh))
    pool[before : before + room] = fresh[:room]
    if size == 0 or room == len(fresh):
        return fresh
    result = fresh.clone()
    chance = torch.rand(len(fresh) - room, device=device, generator=draw)
    chosen = room + torch.nonzero(chance < 0.5)[:, 0][:size]
    place = torch.randperm(size, device=device, generator=draw)[: len(chosen)]
    result[chosen] = pool[place]
    pool[place] = fresh[chosen]
    return result
