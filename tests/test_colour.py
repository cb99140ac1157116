"""Colours by their profiles, against profiles made here and what they mean in numpy."""

from __future__ import annotations

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from sdic.types import Geometry
from sdic.utils import colour
from sdic.utils.images import fit, read_picture
from tests import icc

PIXELS = np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8)
RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)


def read(picture: Image.Image, kind: str, **options) -> np.ndarray:
    """Saved in a format and read again, as floats."""
    blob = io.BytesIO()
    picture.save(blob, kind, **options)
    result = read_picture(blob)
    assert result.mode == "RGB"
    assert "icc_profile" not in result.info
    return np.asarray(result, dtype=float)


@pytest.mark.parametrize("space", ["p3", "adobe", "prophoto"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_wide_spaces_are_converted_to_srgb(space, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    found = read(Image.fromarray(PIXELS), kind, icc_profile=icc.matrix_profile(space), **options)
    expected = icc.meant(PIXELS.reshape(-1, 3).astype(float), space).reshape(PIXELS.shape)
    assert np.abs(PIXELS - expected).mean() > 3  # what leaving the profile aside costs
    assert np.abs(found - expected).mean() < 0.3  # rounding alone is 0.25
    assert np.abs(found - expected).max() < 1.5


def test_a_profile_that_is_srgb_changes_nothing():
    assert np.array_equal(read(Image.fromarray(PIXELS), "PNG", icc_profile=icc.matrix_profile("srgb")), PIXELS)


def test_cmyk_goes_through_its_profile():
    inks = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), -1).reshape(1, 16, 4)
    picture = Image.fromarray((inks * 255).astype(np.uint8), "CMYK")
    expected = icc.srgb_levels(icc.lab_to_xyz(icc.ink_lab(inks[0].astype(float))))
    found = read(picture, "TIFF", icc_profile=icc.cmyk_profile())[0]
    assert np.abs(found - expected).max() < 1
    assert np.abs(read(picture, "TIFF")[0] - expected).mean() > 10
    wide = picture.resize((16 * 16, 16), Image.Resampling.NEAREST)  # JPEG mixes neighbours
    jpeg = read(wide, "JPEG", quality=100, icc_profile=icc.cmyk_profile())[8, 8::16]
    assert np.abs(jpeg - expected).max() < 5  # and not inverted, as Adobe's files are stored


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_grey_profiles(gamma):
    light = (RAMP / 255) ** gamma
    expected = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    for deep in (RAMP, RAMP.astype(np.uint16) * 257):
        found = read(Image.fromarray(deep), "PNG", icc_profile=icc.grey_profile(gamma))
        assert np.abs(found - expected[..., None]).max() < 1


def test_grey_pictures_with_a_profile_for_colours():
    expected = icc.meant(np.repeat(RAMP.reshape(-1, 1), 3, 1).astype(float), "prophoto").reshape(16, 16, 3)
    found = read(Image.fromarray(RAMP), "PNG", icc_profile=icc.matrix_profile("prophoto"))
    assert np.abs(found - expected).max() < 1.5


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_profiles_of_transparent_and_palette_pictures(mode):
    picture = Image.new("RGB", (16, 16), (200, 60, 90))
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    expected = icc.meant(np.array([[200.0, 60.0, 90.0]]), "p3")[0]
    if mode == "RGBA":
        picture.paste((0, 0, 0, 0), (0, 0, 8, 16))
    found = read(picture, "PNG", icc_profile=icc.matrix_profile("p3"))
    assert np.abs(found[0, 12] - expected).max() < 1
    if mode == "RGBA":
        assert (found[:, :8] == 255).all()


def test_a_picture_is_converted_once_and_pil_pictures_too():
    picture = Image.fromarray(PIXELS)
    picture.info["icc_profile"] = icc.matrix_profile("p3")
    geometry = Geometry(64, (48, 48))
    once, notes = fit(picture, geometry)
    twice, _ = fit(once, geometry)
    assert notes == []
    assert not np.array_equal(np.asarray(once), PIXELS)
    assert np.array_equal(np.asarray(once), np.asarray(twice))


@pytest.mark.parametrize("profile", [b"no profile", icc.matrix_profile("p3")[:200], icc.cmyk_profile()])
def test_a_profile_that_cannot_be_used_is_said(profile):
    blob = io.BytesIO()
    Image.fromarray(PIXELS).save(blob, "TIFF", icc_profile=profile)
    picture = read_picture(blob)
    assert np.array_equal(np.asarray(picture), PIXELS)
    _, notes = fit(picture, Geometry(64, (48, 48)))
    assert len(notes) == 1
    assert "colour profile" in notes[0]


def test_a_file_cannot_write_the_notes():
    blob = io.BytesIO()
    Image.fromarray(PIXELS).save(blob, "PNG", pnginfo=_text(str(colour.NOTE), "from a stranger"))
    picture = read_picture(blob)
    assert picture.info == {}
    assert fit(picture, Geometry(64, (48, 48)))[1] == []


def _text(key: str, value: str):
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(key, value)
    return info


def test_strips_give_what_the_whole_gives(monkeypatch):
    deep = Image.fromarray(PIXELS[..., 0].astype(np.float32) * 3.7)
    layer = Image.fromarray(np.concatenate([PIXELS, PIXELS[..., :1]], 2))
    layer.info["icc_profile"] = icc.matrix_profile("adobe")
    whole = [np.asarray(colour.to_rgb(picture)) for picture in (deep, layer)]
    for size in (7, 100):
        monkeypatch.setattr(colour, "STRIP", size)
        for picture, expected in zip((deep, layer), whole, strict=True):
            assert np.array_equal(np.asarray(colour.to_rgb(picture)), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.uint16, np.int32])
def test_deep_pictures_are_not_copied_as_float64(dtype):
    side = 4096
    picture = Image.fromarray(np.full((side, side), 200, dtype=dtype))
    tracemalloc.start()
    colour.to_rgb(picture)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * side * side  # bytes; whole float64 copies are 8 a pixel each
