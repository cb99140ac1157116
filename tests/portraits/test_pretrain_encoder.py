"""The encoder's stage beside its paper: order of the steps, noise, optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_optimizer import Ranger

from sdic.evaluation.codes import OwnCodes
from sdic.networks.e4e import E4E, E4EConfig
from sdic.portraits import samples as bank
from sdic.portraits.samples import Recipe
from sdic.training.tasks.e4e import start_in_w


def test_pictures_are_drawn_with_fresh_noise(workshop: Any) -> None:
    """Known pictures and reconstructions both: a code must not explain one fixed draw of the noise."""
    task = workshop.prepared("e4e")
    heard: list[Any] = []
    inner = task.generator.synthesis.forward

    def forward(latent: torch.Tensor, start: Any = None, noise: Any = "fixed") -> torch.Tensor:
        heard.append(noise)
        return inner(latent, start, noise)

    task.generator.synthesis.forward = forward
    task.reconstruct(next(task.batches(0)).places)
    layers = range(task.generator.config.layers)
    assert all(set(noise) == set(layers) for noise in heard)  # a map for each layer and picture
    assert [len(noise[0]) for noise in heard] == [2, 4]
    assert not torch.equal(heard[0][0], heard[1][0][:2])
    heard.clear()
    task.reconstructions(task.samples.first(2))
    assert heard == ["fixed"]  # what `sdic invert` does


def test_the_critic_learns_before_it_is_asked(workshop: Any) -> None:
    """e4e's order: one step of the discriminator, then the encoder's, against the weights that came of it."""
    run = workshop.trainer("e4e", "run.images=8", "run.log_every=0", run="order")
    steps: list[str] = []
    for phase in run.task.phases:
        inner = phase.optimizer.step
        name = phase.networks[0]
        phase.optimizer.step = lambda *a, name=name, inner=inner, **k: (steps.append(name), inner(*a, **k))[1]
    assert run.run() == 0
    assert [name for index, name in enumerate(steps) if index == 0 or steps[index - 1] != name][:2] == [
        "critic",
        "encoder",
    ]
    assert steps.count("encoder") == 2


def test_the_encoder_is_trained_by_ranger_by_default(workshop: Any) -> None:
    optimizer = workshop.prepared("e4e").phases[-1].optimizer
    assert isinstance(optimizer, Ranger)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert isinstance(workshop.prepared("e4e", "optim.name=adam").phases[-1].optimizer, torch.optim.Adam)


def test_the_evaluation_says_how_far_codes_are_from_w(workshop: Any) -> None:
    task = workshop.prepared("e4e")
    values = task.evaluate()
    code, _ = task.reconstructions(task.samples.first(4))
    assert values["from_w"] > 0
    assert torch.isfinite(task.own.distance(code)).all()
    w = task.codes(200)
    assert float(task.own.distance(w).mean()) == pytest.approx(task.generator.config.style_dim**0.5, rel=0.2)


def test_cached_pictures_of_another_law_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes become the same portraits as ever; seeds become those of the law."""
    codes, split = Recipe("codes", 16, 4, 80, "generator"), Recipe("split", 16, 4)
    before = codes.folder(tmp_path), split.folder(tmp_path)
    monkeypatch.setattr(bank, "LAW", bank.LAW + 1)
    assert codes.folder(tmp_path) == before[0]
    assert split.folder(tmp_path) != before[1]


def test_codes_can_begin_in_the_shape_of_w() -> None:
    """A W that is wide in one direction and narrow in the other: codes begin so too, offsets with their share of it."""
    torch.manual_seed(0)
    scale = torch.tensor([3.0, 0.02]).repeat(8)
    own = OwnCodes.from_codes(torch.randn(5000, 16) * scale)
    encoder = E4E(E4EConfig(3, 16, (1, 1, 1, 1), (8, 8, 8, 8), 1, 2, 32)).eval()
    picture = torch.rand(64, 3, 32, 32) * 2 - 1
    before = encoder.offsets(picture).detach()
    start_in_w(encoder, own.spread(), 0.1)
    after = encoder.offsets(picture).detach()

    def ratio(code: torch.Tensor) -> float:
        return float(code[:, ::2].square().mean().sqrt() / code[:, 1::2].square().mean().sqrt())

    assert ratio(before[:, 0]) < 3
    assert ratio(after[:, 0]) == pytest.approx(150, rel=0.7)
    assert ratio(after[:, 1] - after[:, 0]) == pytest.approx(150, rel=0.7)
    first, offset = after[:, 0].square().mean(), (after[:, 1] - after[:, 0]).square().mean()
    unshaped = (before[:, 1] - before[:, 0]).square().mean() / before[:, 0].square().mean()
    assert float(offset / first) == pytest.approx(0.01 * float(unshaped), rel=0.8)
