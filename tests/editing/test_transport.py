"""The rule "carried": the compensation goes where the generator's own content goes."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import sdic
from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.editing.transport import SIGNATURE, carried, motion, signature
from sdic.methods import build_inverter
from sdic.methods.options import FeatureOptions
from sdic.methods.sdic import SDICInverter
from sdic.ops.matching import smooth
from sdic.tiny import LAYER, tiny_bundle
from sdic.types import GeneratorState, Inversion


def texture(seed: int, channels: int = 24, side: int = 96) -> torch.Tensor:
    """Smooth noise [1, C, S, S]: places differ, neighbours resemble each other."""
    noise = torch.randn(1, channels, side, side, generator=torch.Generator().manual_seed(seed))
    return smooth(noise, 1.5)


class Moving:
    """A stand-in for a synthesis whose "code" is how far its content is moved to the right, in cells of 32."""

    config = SimpleNamespace(layers=10)
    calls = 0

    def until(self, stop: int, latent: torch.Tensor, start: Any = None, noise: Any = "fixed") -> GeneratorState:
        Moving.calls += 1
        moved = [texture(stop)[..., 32:64, 32 - int(code) : 64 - int(code)] for code in latent[:, 0, 0]]
        return GeneratorState(stop, torch.cat(moved), None)


def code(amount: float) -> torch.Tensor:
    return torch.full((1, 1, 1), float(amount))


def inversion_of(compensation: torch.Tensor) -> Inversion:
    base = Moving().until(5, code(0)).feature
    image = torch.zeros(1, 3, 8, 8)
    return Inversion(image, code(0), code(0), base + compensation, layer=5, extras={"base_feature": base})


@pytest.mark.parametrize("cells", [2, 5])
def test_the_compensation_moves_with_the_content(cells: int) -> None:
    compensation = 5 * texture(77)[..., 32:64, 32:64]
    synthesis: Any = Moving()
    edited = carried(synthesis, inversion_of(compensation), code(cells), "fixed")
    extra = edited - synthesis.until(5, code(cells)).feature
    inside = (slice(None), slice(None), slice(4, 28), slice(10, 28))
    expected = compensation.roll(cells, 3)[inside]
    error = (extra[inside] - expected).square().mean() / expected.square().mean()
    left = (compensation[inside] - expected).square().mean() / expected.square().mean()
    assert error < 0.05 < left  # eq. 6 leaves it where it was


def test_what_comes_into_view_is_left_to_the_generator() -> None:
    """Content that entered from the left has no match before the edit: its compensation is not known."""
    synthesis: Any = Moving()
    before, after = (signature(synthesis, code(amount), "fixed")[0] for amount in (0, 6))
    flow, confidence = motion(after, before)
    assert confidence[..., 4:28, 10:28].min() > 0.95
    assert confidence[..., 4:28, :4].median() < 0.3
    torch.testing.assert_close(flow[:, 1, 6:26, 12:26], torch.full((1, 20, 14), -6.0), atol=0.1, rtol=0)


def test_an_edit_that_moves_nothing_is_equation_6_to_the_bit() -> None:
    """A change of colour everywhere, as of age, is no motion."""

    class Fading(Moving):
        def until(self, stop: int, latent: torch.Tensor, start: Any = None, noise: Any = "fixed") -> GeneratorState:
            fade = 1 + latent[:, :1, :1, None]
            return GeneratorState(stop, texture(stop)[..., 32:64, 32:64] * fade + latent[:, :1, :1, None], None)

    synthesis: Any = Fading()
    inversion = inversion_of(texture(77)[..., 32:64, 32:64])
    after = synthesis.until(5, code(0.5)).feature
    assert inversion.feature is not None
    expected = inversion.feature + (after - inversion.extras["base_feature"])
    assert torch.equal(carried(synthesis, inversion, code(0.5), "fixed"), expected)


@pytest.mark.parametrize("layer", range(9))
def test_walking_to_the_layer_changes_nothing(layer: int) -> None:
    synthesis = tiny_bundle(0).networks["generator"].synthesis
    latent = torch.randn(1, 10, 64)
    with torch.no_grad():
        found, feature = signature(synthesis, latent, "fixed", layer)  # type: ignore[arg-type]
        torch.testing.assert_close(feature, synthesis.until(layer, latent).feature)  # type: ignore[union-attr,operator]
    assert found.shape[2:] == (32, 32)
    assert torch.isfinite(found).all()


def test_smaller_generators_have_something_to_match() -> None:
    synthesis: Any = tiny_bundle(0, resolution=32, layer=3).networks["generator"].synthesis
    latent = torch.randn(1, synthesis.config.latent_rows, 64)
    with torch.no_grad():
        assert signature(synthesis, latent, "fixed", 3)[0].shape[2:] == (32, 32)


class Plain(SDICInverter):
    """A method with a feature that adds nothing of its own to editing."""

    Options = FeatureOptions
    layer = LAYER
    _edit = sdic.Inverter._edit
    _edited_feature = sdic.Inverter._edited_feature
    keeps_unmoved = sdic.Inverter.keeps_unmoved


@pytest.fixture
def model() -> sdic.Inverter:
    return build_inverter("sdic", tiny_bundle(0), DOMAINS["tiny"].geometry, layer=LAYER)


@pytest.fixture
def direction() -> Direction:
    return Direction(torch.randn(64), name="test")


def test_carried_is_the_default_and_strength_zero_is_the_inversion(
    model: sdic.Inverter, photos: torch.Tensor, direction: Direction
) -> None:
    inversion = model.invert(photos[:2])
    assert model.options.rule == FeatureOptions().rule == "carried"
    for rule in ("carried", "paper"):
        assert torch.equal(model.edit(inversion, direction, 0, rule=rule), inversion.image)
    assert inversion.feature is not None
    inversion = replace(inversion, feature=inversion.feature + 10 * torch.randn_like(inversion.feature))
    edited = model.edit(inversion, direction, 3.0)
    assert torch.equal(edited, model.edit(inversion, direction, 3.0, rule="carried"))
    assert not torch.allclose(edited, model.edit(inversion, direction, 3.0, rule="paper"), atol=0.1)


def test_every_method_with_a_feature_inherits_the_rule(
    model: sdic.Inverter, photos: torch.Tensor, direction: Direction
) -> None:
    inversion = model.invert(photos[:1])
    expected = model.edit(inversion, direction, 3.0)
    other = Plain({role: getattr(model, role) for role in model.networks}, model.geometry)
    assert torch.equal(other.edit(inversion, direction, 3.0), expected)
    bare = replace(inversion, feature=None, layer=-1, extras={})
    assert torch.isfinite(model.edit(bare, direction, 3.0)).all()


def test_a_sweep_looks_at_the_inversion_once_and_equals_single_edits(
    model: sdic.Inverter, photos: torch.Tensor, direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    inversion = model.invert(photos[:1])
    singles = torch.cat([model.edit(inversion, direction, amount) for amount in (1.0, 2.0, 3.0)])
    calls = []
    original = signature
    monkeypatch.setattr(
        "sdic.editing.transport.signature", lambda *words: calls.append(words[1].shape) or original(*words)
    )
    sweep = model.edit(inversion, direction, [0.0, 1.0, 2.0, 3.0])
    assert len(calls) == 4  # before, and after each of three
    torch.testing.assert_close(sweep[1:], singles)
    assert torch.equal(sweep[0], inversion.image[0])
    assert SIGNATURE not in inversion.extras  # the caller's record is left as it was


def test_a_batch_equals_single_edits(model: sdic.Inverter, photos: torch.Tensor, direction: Direction) -> None:
    inversion = model.invert(photos)
    together = model.edit(inversion, direction, torch.tensor([1.0, 2.0, 3.0]))
    for index, amount in enumerate((1.0, 2.0, 3.0)):
        single = model.edit(inversion[index], direction, amount)
        torch.testing.assert_close(together[index : index + 1], single, atol=1e-5, rtol=1e-5)
