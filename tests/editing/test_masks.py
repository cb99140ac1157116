"""Where an edit acts: drawn regions, mask pictures, and what stays as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sdic
from sdic.editing.masks import Region, checked, region_of, softened, visible_size, within
from sdic.errors import ConfigError
from sdic.types import Geometry

HERE = Path()


def drawn(**said: object) -> torch.Tensor:
    return region_of({"feather": 0, **said}, HERE, "list").draw((64, 32))


def test_shapes_are_fractions_of_width_and_height():
    box = drawn(rectangle=[0.25, 0.5, 0.75, 1])
    assert box.shape == (64, 32)
    assert box[32:, 8:24].all()
    assert box.sum() == 32 * 16
    round_one = drawn(ellipse=[0, 0, 1, 1])
    assert round_one.sum() == pytest.approx(np.pi * 32 * 16, rel=0.02)
    assert round_one[0, 0] == 0
    assert round_one[32, 16] == 1
    triangle = drawn(polygon=[[0, 0], [1, 0], [0, 1]])
    assert triangle.sum() == pytest.approx(64 * 32 / 2, rel=0.02)
    assert triangle[0, 0] == 1
    assert triangle[-1, -1] == 0
    both = drawn(rectangle=[[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]])
    assert both.sum() == 64 * 32 / 2
    assert torch.equal(drawn(rectangle=[0, 0, 0.5, 0.5], outside=True), 1 - drawn(rectangle=[0, 0, 0.5, 0.5]))


def test_a_soft_border_ends_where_it_says():
    hard = drawn(rectangle=[0, 0.5, 1, 1])
    soft = softened(hard, 5)
    assert (soft[:27] == 0).all()
    assert soft[37:].min() > 0.9999
    assert (soft[27:37, 0].diff() > 0).all()
    assert softened(hard, 0) is hard
    assert softened(torch.zeros(64, 32), 5).max() == 0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"elipse": [0, 0, 1, 1]}, "did you mean 'ellipse'.*known: rectangle, ellipse, polygon, mask"),
        ({"ellipse": [0, 0, 1]}, r"ellipse must be \[left, top, right, bottom\], fractions"),
        ({"ellipse": [10, 10, 200, 200]}, "from 0 to 1"),
        ({"rectangle": [0.5, 0, 0.5, 1]}, "rectangle must be"),
        ({"rectangle": [0, 0, 1, float("nan")]}, "rectangle must be"),
        ({"rectangle": "all"}, "rectangle must be"),
        ({"polygon": [[0, 0], [1, 1]]}, "polygon must be"),
        ({"polygon": []}, "polygon must be"),
        ({"ellipse": [0, 0, 1, 1], "feather": float("nan")}, "feather must be a number from 0 to 0.5"),
        ({"ellipse": [0, 0, 1, 1], "outside": 3}, "outside must be true or false"),
        ({"feather": 0.1}, "says either shapes"),
        ({"ellipse": [0, 0, 1, 1], "mask": "m.png"}, "says either shapes"),
        ({"mask": "m.png"}, "m.png: no such file for mask"),
        ({"masks": "m"}, "no such folder for masks"),
        ([1], "a region is key: value lines"),
    ],
)
def test_what_is_no_region_is_said(said, words, tmp_path):
    with pytest.raises(ConfigError, match=words):
        region_of(said, tmp_path, "list")


def test_a_mask_picture_has_the_size_of_the_pictures(tmp_path):
    Image.new("L", (32, 64), 255).save(tmp_path / "m.png")
    region = region_of({"mask": "m.png"}, tmp_path, "list")
    assert region.draw((64, 32)).min() == 1
    with pytest.raises(ConfigError, match=r"m\.png: the mask is 32x64, and the model's pictures are 64x64"):
        region.draw((64, 64))
    with pytest.raises(ConfigError, match="the mask is 32x64, and the model's pictures are 64x64"):
        checked(torch.zeros(64, 32), Geometry(64, (64, 64)))
    with pytest.raises(ConfigError, match="numbers from 0"):
        checked(torch.full((64, 64), float("nan")), Geometry(64, (64, 64)))
    before = region.identity()
    Image.new("L", (32, 64), 0).save(tmp_path / "m.png")
    assert region.identity() != before


def test_a_mask_belongs_to_the_part_that_shows_the_photo():
    cars = Geometry(64, (24, 32), (8, 56, 0, 64))
    assert visible_size(cars) == (48, 64)
    whole = checked(torch.ones(48, 64), cars)
    assert whole.shape == (1, 1, 64, 64)
    assert whole[0, 0, 8:56].min() == 1
    assert whole.sum() == 48 * 64


def test_where_a_mask_is_nothing_all_stays_to_the_bit():
    before, after = torch.randn(2, 3, 8, 8), torch.full((2, 3, 8, 8), torch.inf)
    assert torch.equal(within(torch.zeros(1, 1, 16, 16), before, after), before)
    assert within(None, before, after) is after
    half = torch.zeros(1, 1, 16, 16)
    half[..., 8:, :] = 1
    after = torch.randn(2, 3, 8, 8)
    got = within(half, before, after)
    assert torch.equal(got[:, :, :4], before[:, :, :4])
    assert torch.allclose(got[:, :, 4:], after[:, :, 4:], atol=1e-6)


@pytest.fixture(scope="module")
def model() -> sdic.PictureInverter:
    torch.set_num_threads(1)
    return sdic.open_model("tiny", "cpu")


def test_edits_act_inside_alone(model):
    inverter, direction = model.inverter, sdic.Direction(torch.ones(64))
    inversion = inverter.invert(torch.rand(2, 3, 64, 64) * 2 - 1)
    for mask in (torch.zeros(64, 64), None):
        unchanged = inverter.edit(inversion, direction, 0.0 if mask is None else 3.0, mask)
        assert torch.equal(unchanged, inversion.image)
    mask = torch.zeros(64, 64)
    mask[:32] = 1
    edited, everywhere = inverter.edit(inversion, direction, 3.0, mask), inverter.edit(inversion, direction, 3.0)
    assert torch.equal(edited[:, :, 32:], inversion.image[:, :, 32:])
    assert not torch.allclose(edited[:, :, :32], inversion.image[:, :, :32], atol=0.01)
    assert not torch.equal(edited[:, :, :32], everywhere[:, :, :32])  # the feature beside it is the inversion's
    assert torch.equal(inverter.edit(inversion, direction, 3.0), everywhere)  # the mask was of one edit
    full = inverter.edit(inversion, direction, 3.0, torch.ones(64, 64))
    assert torch.allclose(full, everywhere, atol=1e-4)


def test_pictures_and_regions_are_masks(model, tmp_path):
    inversion = model.invert(Image.effect_noise((64, 64), 60).convert("RGB"))
    Image.new("L", (64, 64), 0).save(tmp_path / "empty.png")
    plain = np.asarray(model.picture(inversion))
    for mask in (tmp_path / "empty.png", Image.new("RGB", (64, 64)), np.zeros((64, 64), np.uint8)):
        assert np.array_equal(np.asarray(model.edit(inversion, "pc0", 3, mask)), plain)
    left = np.asarray(model.edit(inversion, "pc0", 3, Region((("rectangle", ((0, 0), (0.5, 1))),), feather=0)))
    assert np.array_equal(left[:, 32:], plain[:, 32:])
    assert not np.array_equal(left[:, :32], plain[:, :32])
    Image.new("L", (8, 8)).save(tmp_path / "small.png")
    with pytest.raises(ConfigError, match=r"small\.png: the mask is 8x8"):
        model.edit(inversion, "pc0", 3, tmp_path / "small.png")
