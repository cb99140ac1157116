"""e4e's latent discriminator: its form, its memory, and that it learns at the default settings."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from sdic.config import load_config
from sdic.errors import ConfigError
from sdic.losses.adversarial import critic_loss, r1_penalty
from sdic.networks.portrait_nets import LatentCritic
from sdic.training.latent_critic import through_pool
from sdic.training.tasks.e4e import E4ETrainingConfig


class Pools:
    """The discriminator's side of e4e's training as the task has it: its settings, pools and phases, given codes."""

    def __init__(self, config: E4ETrainingConfig, width: int):
        self.config, self.critic = config, LatentCritic(width)
        self.optimizer = torch.optim.Adam(self.critic.parameters(), config.critic_lr)
        self.pools = {name: torch.zeros(config.pool, width) for name in ("real", "fake")}

    def update(self, real: torch.Tensor, fake: torch.Tensor, step: int) -> None:
        before = step * len(fake)
        real, fake = through_pool(self.pools["real"], real, before), through_pool(self.pools["fake"], fake, before)
        self.apply(critic_loss(self.critic(real), self.critic(fake)))
        if step % self.config.critic_r1_every == 0:
            self.apply(self.config.critic_r1 / 2 * self.config.critic_r1_every * r1_penalty(self.critic, real))

    def apply(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def test_it_is_three_hidden_plain_layers_of_512_and_an_output() -> None:
    critic = LatentCritic(128)
    assert [tuple(p.shape) for p in critic.parameters() if p.ndim == 2] == [
        (512, 128),
        (512, 512),
        (512, 512),
        (1, 512),
    ]
    assert all(type(layer) is nn.Linear for layer in (*critic.layers, critic.output))
    code = torch.randn(3, 128)
    by_hand = code
    for layer in critic.layers:
        value = by_hand @ layer.weight.t() + layer.bias  # type: ignore[operator]
        by_hand = torch.where(value > 0, value, 0.2 * value)
    assert torch.allclose(critic(code), critic.output(by_hand), atol=1e-6)


def test_the_defaults_are_those_of_the_paper() -> None:
    config = E4ETrainingConfig()
    assert (config.l2, config.perceptual, config.id, config.deltas, config.critic) == (1.0, 0.8, 0.1, 2e-4, 0.1)
    assert (config.critic_lr, config.critic_r1, config.critic_r1_every, config.pool) == (2e-5, 10.0, 16, 50)
    assert (config.progressive_from, config.progressive_every) == (160_000, 16_000)
    assert (config.optim.batch, config.run.images) == (8, 1_600_000)
    optim = config.optim
    assert (optim.name, optim.lr, optim.beta1, optim.beta2, optim.eps) == ("ranger", 1e-4, 0.95, 0.999, 1e-5)
    assert optim.fall == 0


def test_it_tells_two_gaussians_apart_at_the_default_settings() -> None:
    """Means 2 sigma apart: nobody does better than 84.1%. A critic that only guesses has the loss 2 log 2 = 1.386."""
    torch.manual_seed(0)
    config, width = E4ETrainingConfig(), 128
    training = Pools(config, width)
    shift = torch.full((width,), 2 / math.sqrt(width))
    batch = config.optim.batch
    for step in range(1000):
        training.update(torch.randn(batch, width), torch.randn(batch, width) + shift, step)
    with torch.no_grad():
        real, fake = training.critic(torch.randn(4000, width)), training.critic(torch.randn(4000, width) + shift)
    assert float(critic_loss(real, fake)) < 2 * math.log(2) - 0.04
    assert float(((real > 0).float().mean() + (fake < 0).float().mean()) / 2) > 0.78


def test_a_pool_is_filled_then_gives_older_codes_for_half_of_the_new_ones() -> None:
    torch.manual_seed(0)
    pool, count = torch.zeros(6, 1), 4
    batches = [torch.arange(count * step, count * (step + 1), dtype=torch.float32)[:, None] for step in range(500)]
    assert torch.equal(through_pool(pool, batches[0], 0), batches[0])
    through_pool(pool, batches[1], 4)  # fills the two places that are left
    exchanged = 0
    for step in range(2, 500):
        held = set(pool[:, 0].tolist())
        out = through_pool(pool, batches[step], count * step)
        older = out[:, 0] < count * step
        exchanged += int(older.sum())
        assert set(out[older, 0].tolist()) <= held
        assert torch.equal(out[~older], batches[step][~older])
        # Nothing is lost or doubled: what went out came from the pool, what is in the pool did not go out.
        given, kept = set(out[:, 0].tolist()), set(pool[:, 0].tolist())
        assert len(given) == count
        assert len(kept) == 6
        assert given | kept == held | set(batches[step][:, 0].tolist())
    assert exchanged / (498 * count) == pytest.approx(0.5, abs=0.05)


def test_a_pool_smaller_than_a_batch_or_none() -> None:
    fresh = torch.arange(8.0)[:, None]
    assert torch.equal(through_pool(torch.zeros(0, 1), fresh, 80), fresh)
    pool = torch.full((2, 1), -1.0)
    out = through_pool(pool, fresh, 80)
    assert int((out == -1).sum()) <= 2
    assert sorted({*out[:, 0].tolist(), *pool[:, 0].tolist()} - {-1.0}) == fresh[:, 0].tolist()
    with pytest.raises(ConfigError, match="pool"):
        load_config(E4ETrainingConfig, None, ["pool=-1"])


def test_both_kinds_of_codes_have_a_memory_that_all_processes_fill_alike(workshop: Any) -> None:
    task = workshop.prepared("e4e", "pool=16")
    width = task.generator.config.style_dim
    for step in range(2):
        task.codes = lambda count, value=1.0 + step: torch.full((count, width), value)
        task.remembered(torch.full((8, 3, width), -1.0 - step))
    assert task.extra["real"][:, 0].tolist() == [1.0] * 8 + [2.0] * 8
    assert task.extra["fake"][:, 0].tolist() == [-1.0] * 8 + [-2.0] * 8
    assert int(task.extra["coded"]) == 16


def test_the_gradient_penalty_is_the_released_one(workshop: Any) -> None:
    """r1 / 2 * every * |grad|^2 on the real codes, every 16 steps; in the steps between nothing of it."""
    task = workshop.prepared("e4e", "pool=0", "critic_r1_every=16")
    assert [(phase.name, phase.every) for phase in task.phases] == [("critic", 1), ("critic_r1", 16), ("encoder", 1)]
    batch = next(task.batches(0))
    task.loss("critic", batch)
    real = batch.made.real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(task.critic(real).sum(), real)
    penalty = 10 / 2 * 16 * float(gradient.square().sum(1).mean())
    assert float(task.loss("critic_r1", batch)["loss"].detach()) == pytest.approx(penalty, rel=1e-4)
