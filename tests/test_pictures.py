"""The picture level: anything that is a photo in, PIL pictures out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import sdic
from sdic.direction import Direction
from sdic.errors import ImageError, UnknownNameError
from sdic.pictures import domain_of
from tests import icc


@pytest.fixture(scope="module")
def model():
    return sdic.open_model("tiny", "cpu")


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def inversion(model, photo):
    return model.invert(photo)


def test_paths_pictures_and_arrays_are_the_same_photo(model, photo, inversion, tmp_path):
    photo.save(tmp_path / "me.png")
    batch = model.invert([tmp_path / "me.png", np.asarray(photo)])
    assert len(batch) == 2
    for index in range(2):
        assert torch.equal(batch.photo[index], inversion.photo[0])
        assert torch.equal(batch.image[index], inversion.image[0])


def test_picture_and_edit_return_one_or_a_list(model, inversion):
    one = model.picture(inversion)
    assert (one.mode, one.size) == ("RGB", (64, 64))
    assert model.edit(inversion, "pc0", 2).size == (64, 64)
    sweep = model.edit(inversion, "pc0", [-1, 0, 1])
    assert len(sweep) == 3
    assert np.array_equal(np.asarray(sweep[1]), np.asarray(one))  # strength 0 is the inversion
    assert not np.array_equal(np.asarray(sweep[0]), np.asarray(one))
    assert len(model.edit(inversion, "pc0", [2])) == 1
    assert len(model.picture(sdic.Inversion.cat([inversion, inversion]))) == 2


def test_names_objects_and_several_directions(model, inversion):
    direction = model.direction("pc1")
    assert np.array_equal(np.asarray(model.edit(inversion, direction, 2)), np.asarray(model.edit(inversion, "pc1", 2)))
    both = model.edit(inversion, ["pc0", direction], [1, 2])
    joined = Direction(model.direction("pc0").delta + 2 * direction.delta)
    difference = np.asarray(both, dtype=float) - np.asarray(model.edit(inversion, joined, 1), dtype=float)
    assert np.abs(difference).max() <= 1
    assert model.directions() == ["pc0", "pc1", "pc2"]


def test_the_rules_differ(model, inversion):
    paper, released = (model.edit(inversion, "pc0", 0, rule=rule) for rule in ("paper", "released"))
    assert not np.array_equal(np.asarray(paper), np.asarray(released))


def test_what_was_cropped_is_warned_of(model):
    with pytest.warns(UserWarning, match="centre-cropped"):
        model.invert(Image.new("RGB", (128, 64)))


def test_pil_pictures_of_damaged_files_and_of_other_colour_spaces(model, photo, tmp_path):
    photo.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:4000])
    with Image.open(tmp_path / "cut.png") as picture, pytest.raises(ImageError, match="truncated"):
        model.invert(picture)
    photo.save(tmp_path / "p3.png", icc_profile=icc.matrix_profile("p3"))
    with Image.open(tmp_path / "p3.png") as picture:
        one, other = model.invert([picture, tmp_path / "p3.png"]).photo
    assert torch.equal(one, other)
    assert not torch.equal(one, model.invert(photo).photo[0])
    photo.save(tmp_path / "bad.png", icc_profile=b"no profile")
    with pytest.warns(UserWarning, match="colour profile"):
        model.invert(tmp_path / "bad.png")


def test_mistakes(model, inversion, tmp_path):
    with pytest.raises(UnknownNameError, match="known: pc0"):
        model.edit(inversion, "smile", 1)
    with pytest.raises(ImageError, match="No such file"):
        model.invert(tmp_path / "nothere.png")
    with pytest.raises(ImageError, match="uint8"):
        model.invert(np.zeros((64, 64, 3)))
    with pytest.raises(ValueError, match="no photos"):
        model.invert([])


def test_a_domain_that_is_assumed_is_said() -> None:
    """Directions of faces on a generator that may draw anything else: never in silence."""
    inverter = sdic.load("tiny", "cpu")
    inverter.domain = None
    with pytest.warns(UserWarning, match="name no domain; by its picture sizes the directions of 'tiny' are meant"):
        assert domain_of(inverter) == "tiny"
