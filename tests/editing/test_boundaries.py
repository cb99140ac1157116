"""A planted direction is found, from scores and from labels, and codes need not be in memory."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from sdic.editing.amounts import respond
from sdic.editing.boundaries import read_off
from sdic.editing.ganspace import CHUNK, own_codes
from sdic.errors import ConfigError, SdicError
from sdic.tiny import tiny_bundle

COUNT = 2000


def planted(width: int) -> tuple[Tensor, Tensor, Tensor]:
    """2,000 codes [N, D], a direction [D], noisy scores [N] along it."""
    codes = torch.randn(COUNT, width) * torch.linspace(0.5, 2, width)
    direction = torch.nn.functional.normalize(torch.randn(width), dim=0)
    return codes, direction, 7 * (codes @ direction) + 0.5 * torch.randn(COUNT)


def in_parts(codes: Tensor):
    return lambda: iter(codes.split(300))


@pytest.mark.parametrize("width", [64, 512])
def test_a_planted_direction_is_found_from_2000_scores(width: int) -> None:
    codes, direction, scores = planted(width)
    found = read_off(in_parts(codes), scores, "regression")
    assert float(found.normal @ direction) > 0.95
    assert float(found.normal.norm()) == pytest.approx(1, abs=1e-5)
    assert found.accuracy > 0.95
    assert found.correlation > 0.95
    assert found.used == COUNT


@pytest.mark.parametrize("kind", ["scores", "labels"])
def test_a_planted_direction_is_found_by_the_classifier(kind: str) -> None:
    codes, direction, scores = planted(64)
    given = scores if kind == "scores" else (scores > 0).float()
    found = read_off(in_parts(codes), given, "svm")
    assert float(found.normal @ direction) > 0.95
    assert found.accuracy > 0.93
    assert found.used == (400 if kind == "scores" else COUNT)
    against = read_off(in_parts(codes), -given, "svm")
    assert float(against.normal @ direction) < -0.95


def test_the_accuracy_is_that_of_codes_that_were_held_out() -> None:
    """Labels that mean nothing are learned by heart, and not guessed."""
    codes = torch.randn(120, 200)
    labels = (torch.randn(120) > 0).float()
    for how in ("svm", "regression"):
        assert 0.2 < read_off(in_parts(codes), labels, how).accuracy < 0.75  # type: ignore[arg-type]


def test_unknown_scores_are_left_out() -> None:
    codes, direction, scores = planted(64)
    scores[::2] = math.nan
    codes[::2] = 1000.0  # would spoil everything
    for how in ("svm", "regression"):
        found = read_off(in_parts(codes), scores, how, 0.2)  # type: ignore[arg-type]
        assert float(found.normal @ direction) > 0.9
        assert math.isfinite(found.correlation)
        assert found.correlation > 0.8


def test_rare_labels_are_found_too() -> None:
    codes, direction, scores = planted(32)
    labels = (scores > scores.sort().values[-100]).float()  # one in twenty
    assert float(read_off(in_parts(codes), labels, "svm").normal @ direction) > 0.9


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (torch.ones(50), "same in nearly all"),
        (torch.tensor([1.0] * 3 + [0.0] * 47), "3 codes with the attribute and 47 without"),
        (torch.full((50,), math.nan), "at least 4 of either kind"),
    ],
)
def test_what_cannot_be_found(scores: Tensor, said: str) -> None:
    for how in ("svm", "regression"):
        with pytest.raises(SdicError, match=said):
            read_off(in_parts(torch.randn(50, 4)), scores, how, 0.2)  # type: ignore[arg-type]


def test_a_regression_of_w_plus_is_refused() -> None:
    with pytest.raises(ConfigError, match="use svm"):
        read_off(in_parts(torch.randn(20, 5000)), torch.randn(20), "regression", 0.3)


def test_the_first_codes_are_the_same_however_many_are_drawn() -> None:
    generator = tiny_bundle(0).networks["generator"]
    few = torch.cat(list(own_codes(generator, 7)))  # type: ignore[arg-type]
    many = list(own_codes(generator, CHUNK + 3))  # type: ignore[arg-type]
    assert [len(part) for part in many] == [CHUNK, 3]
    assert torch.equal(few, many[0][:7])


def test_a_response_that_bends_is_met() -> None:
    """Half of what is asked arrives up to 10, nothing more beyond 20."""
    asked = [0.0, 5.0, 8.0, -4.0, 30.0]
    seen: list[float] = []

    def move(strengths: list[float]) -> list[float]:
        seen.extend(strengths)
        return [max(-10.0, min(10.0, strength * 0.8)) for strength in strengths]

    response = respond(asked, move)
    assert len(seen) == 12  # three for each amount but 0, all at once
    assert response.strengths[0.0] == (0.0, False)
    assert response.strengths[5.0] == (pytest.approx(6.25), False)
    assert response.strengths[8.0] == (pytest.approx(10.0), False)
    assert response.strengths[-4.0] == (pytest.approx(-5.0), False)
    assert response.strengths[30.0] == (15.0, True)  # the first of those that get closest
    seen.clear()
    swept = respond([1.0, 2.0, 3.0, 4.0, -4.0], move, sweep=True)
    assert len(seen) == 6 + 3
    assert [swept.strengths[a][0] for a in (1.0, 2.0, 3.0, 4.0, -4.0)] == pytest.approx([1.25, 2.5, 3.75, 5.0, -5.0])
    assert respond([0.0], lambda strengths: pytest.fail("nothing to try")).strengths == {0.0: (0.0, False)}
