"""The encoder's stage beside its paper: order of the steps, noise, optimiser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_optimizer import Ranger

from sdic.evaluation.codes import OwnCodes
from sdic.networks.e4e import E4E, E4EConfig
from sdic.pretraining import bank
from sdic.pretraining.bank import Recipe
from sdic.pretraining.encoder import start_in_w


def test_pictures_are_drawn_with_fresh_noise(workshop: Any) -> None:
    """Known pictures and reconstructions both: a code must not explain one fixed draw of the noise."""
    stage = workshop.prepared("encoder")
    heard: list[Any] = []
    inner = stage.generator.synthesis.forward

    def forward(latent: torch.Tensor, start: Any = None, noise: Any = "fixed") -> torch.Tensor:
        heard.append(noise)
        return inner(latent, start, noise)

    stage.generator.synthesis.forward = forward
    stage.step(0)
    assert heard == ["random", "random"]
    heard.clear()
    stage.reconstructions(stage.bank.batch(torch.arange(2)))
    assert heard == ["fixed"]  # what `sdic invert` does


def test_the_critic_learns_before_it_is_asked(workshop: Any) -> None:
    """e4e's order: one step of the discriminator, then the encoder's, against the weights that came of it."""
    stage = workshop.prepared("encoder")
    steps: list[str] = []
    for name, optimizer in stage.optimizers.items():
        inner = optimizer.step
        optimizer.step = lambda *a, name=name, inner=inner, **k: (steps.append(name), inner(*a, **k))[1]
    stage.step(1)  # no gradient penalty at this step
    assert steps == ["critic", "encoder"]


def test_the_encoder_is_trained_by_ranger_by_default(workshop: Any) -> None:
    optimizer = workshop.prepared("encoder").optimizers["encoder"]
    assert isinstance(optimizer, Ranger)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert isinstance(workshop.prepared("encoder", "optim.name=adam").optimizers["encoder"], torch.optim.Adam)


def test_the_evaluation_says_how_far_codes_are_from_w(workshop: Any) -> None:
    stage = workshop.prepared("encoder")
    values = stage.evaluate()
    code, _ = stage.reconstructions(stage.bank.batch(torch.arange(4)))
    assert values["from_w"] > 0
    assert torch.isfinite(stage.own.distance(code)).all()
    w = stage.codes(200)
    assert float(stage.own.distance(w).mean()) == pytest.approx(stage.generator.config.style_dim**0.5, rel=0.2)


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
