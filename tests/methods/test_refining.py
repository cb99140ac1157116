"""One method goes on from another one's codes; which can is said by the classes alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import sdic
from sdic.checkpoints import write_native
from sdic.direction import Direction
from sdic.errors import ConfigError, SdicError, UnknownNameError
from sdic.methods import METHODS
from sdic.tiny import tiny_bundle

STARTERS = [name for name, kind in METHODS.items() if kind.gives_code]
REFINERS = [name for name, kind in METHODS.items() if kind.refines]


def other_encoder(path: Path) -> Path:
    """The tiny stack's generator, beside another encoder than its own."""
    encoder = tiny_bundle(7).networks["encoder"]
    bundle = tiny_bundle(0)
    networks = {"generator": bundle.networks["generator"], "encoder": encoder}
    write_native(path, networks, {"geometry": bundle.source["geometry"], "domain": "tiny", "method": "e4e"})
    return path


def test_a_method_that_starts_with_its_own_encoder_is_itself(photos: Tensor) -> None:
    alone = sdic.load("tiny", "cpu")
    composed = sdic.load("tiny-e4e", "cpu", refine="tiny")
    one, other = alone.invert(photos), composed.invert(photos)
    for (name, expected), (_, found) in zip(one.tensors(), other.tensors(), strict=True):
        assert torch.equal(expected, found), name
    assert composed.name == other.method == "tiny-e4e+tiny"
    assert composed.generator is composed.starter.generator  # type: ignore[union-attr]


def test_it_goes_on_from_the_other_code(tmp_path: Path, photos: Tensor) -> None:
    start = other_encoder(tmp_path / "other.safetensors")
    code = sdic.load(start, "cpu").invert(photos).latent
    composed = sdic.load(start, "cpu", refine="sdic")  # the domain's model of that method
    inversion = composed.invert(photos)
    torch.testing.assert_close(inversion.base_latent, code)
    assert not torch.allclose(inversion.base_latent, sdic.load("tiny", "cpu").invert(photos).base_latent)
    direction = Direction(torch.randn(64))
    assert torch.equal(composed.edit(inversion, direction, 0.0), inversion.image)
    assert not torch.allclose(composed.edit(inversion, direction, 1.0), inversion.image)


def test_options_are_those_of_the_last_and_of_the_first(photos: Tensor) -> None:
    model: Any = sdic.load("tiny-e4e", "cpu", refine="tiny", rule="paper")
    assert model.options.rule == "paper"
    with pytest.raises(ConfigError, match=r"method 'e4e' has no option 'rule'"):
        sdic.load("tiny-e4e", "cpu", refine="tiny", **{"start.rule": "paper"})  # type: ignore[arg-type]


def test_what_cannot_be_composed_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'e4e' does not go on from another method's codes; those that do: .*sdic"):
        sdic.load("tiny", "cpu", refine="tiny-e4e")
    with pytest.raises(ConfigError, match=r"tiny \(method 'sdic'\) is more than its code"):
        sdic.load("tiny", "cpu", refine="tiny")
    bundle, path = tiny_bundle(1), tmp_path / "one.safetensors"
    networks = {role: bundle.networks[role] for role in ("generator", "encoder")}
    write_native(path, networks, {"geometry": bundle.source["geometry"], "method": "e4e"})
    with pytest.raises(ConfigError, match=r"codes of one mean nothing to the other"):
        sdic.load(path, "cpu", refine="tiny")
    with pytest.raises(ConfigError, match=r"no model of it is known of domain 'unknown'"):
        sdic.load(path, "cpu", refine="sdic")
    with pytest.raises(SdicError, match=r"'sdix' is neither a model"):
        sdic.load("tiny-e4e", "cpu", refine="sdix")
    with pytest.raises(UnknownNameError):
        sdic.load("tiny", "cpu", method="sdix")
