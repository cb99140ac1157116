"""One method going on from another one in an evaluation, and photos for methods that look at them at full size."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdic import zoo
from sdic.cli import main
from sdic.domains import domain
from sdic.errors import ConfigError
from sdic.evaluation.methods import resolve, usual_methods
from sdic.evaluation.pictures import Photos
from sdic.methods import METHODS
from sdic.types import Geometry


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two photos of 96 px."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        levels = np.random.RandomState(index).randint(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(levels).resize((96, 96), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def test_words_with_a_plus_are_two_methods(tmp_path: Path) -> None:
    tiny = domain("tiny")
    assert resolve(["e4e+sdic"], tiny) == {"e4e+sdic": "tiny-e4e+tiny"}
    assert resolve(["both=tiny-e4e+wplus+pti"], tiny) == {"both": "tiny-e4e+wplus+pti"}
    with pytest.raises(ConfigError, match="does not go on from another method's codes"):
        resolve(["sdic+e4e"], tiny)
    (tmp_path / "a+b.safetensors").touch()  # a file of that name is one
    assert resolve([str(tmp_path / "a+b.safetensors")], tiny) == {"a+b": str(tmp_path / "a+b.safetensors")}


def test_methods_that_take_minutes_must_be_named() -> None:
    """A method's name is the domain's own model of it; the others of the same method go by their own names."""
    usual = resolve(usual_methods(domain("portraits")), domain("portraits"))
    assert (
        usual.items()
        >= {
            "e4e": "portraits-e4e",
            "sdic": "portraits",
            "portraits-difference": "portraits-difference",
        }.items()
    )
    assert len(set(usual.values())) == len(usual)
    assert not [model for model in usual.values() if METHODS[str(zoo.card(model).method)].looks_through]
    assert resolve(["pti", "wplus"], domain("portraits")) == {"pti": "portraits-pti", "wplus": "portraits-wplus"}


def test_what_goes_on_from_its_own_encoder_has_the_same_numbers(pictures: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(pictures), "--domain", "tiny", "--methods", "sdic,e4e+sdic", "--device", "cpu"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["methods"]["e4e+sdic"]["refined"] == "tiny-e4e+tiny"
    assert "refined" not in report["methods"]["sdic"]
    one, other = report["results"]["sdic"], report["results"]["e4e+sdic"]
    assert one["l2"] == other["l2"] > 0


def test_photos_are_read_at_both_sizes(pictures: Path) -> None:
    small, large = Geometry(64, (32, 32)), Geometry(64, (64, 64))
    everything = (lambda key: True, lambda key: False)
    for picture in Photos(str(pictures), 0, small, torch.device("cpu"), large).read(*everything):
        assert picture.photo.shape == (1, 3, 32, 32)
        assert picture.large is not None
        assert picture.large.shape == (1, 3, 64, 64)
    assert all(p.large is None for p in Photos(str(pictures), 0, small, torch.device("cpu")).read(*everything))
