"""Pictures as phones and scanners make them: HEIC, hundreds of megapixels, several pages."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from sdic.errors import ImageError
from sdic.types import Geometry
from sdic.utils import decoding, kinds
from sdic.utils.colour import NOTE
from sdic.utils.images import fit, read_picture, what_is

HEIC = b"\0\0\0\x18ftypheic" + bytes(32)


class Stub(ImageFile.ImageFile):
    """What pi-heif registers, in short: 44 bytes, then 8x6 pixels."""

    format = "HEIF"

    def _open(self) -> None:
        self._size, self._mode = (8, 6), "RGB"
        self.tile = [ImageFile._Tile("raw", (0, 0, 8, 6), 44, ("RGB", 0, 1))]


@pytest.fixture
def heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With a stand-in for pi-heif; the real one, where it is installed, is as before afterwards."""
    opened, names = dict(Image.OPEN), list(Image.ID)

    def register_heif_opener(**_: object) -> None:
        Image.register_open("HEIF", Stub, lambda head: head[4:12] == b"ftypheic")

    monkeypatch.setitem(sys.modules, "pi_heif", types.SimpleNamespace(register_heif_opener=register_heif_opener))
    kinds.reads_heif.cache_clear()
    yield
    kinds.reads_heif.cache_clear()
    Image.OPEN.clear()
    Image.OPEN.update(opened)
    Image.ID[:] = names


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    kinds.reads_heif.cache_clear()
    yield
    kinds.reads_heif.cache_clear()


def test_heic_is_read_where_pi_heif_is(heif: None, tmp_path: Path) -> None:
    pixels = np.arange(144, dtype=np.uint8).reshape(6, 8, 3)
    for name in ("phone.heic", "phone.bin"):
        (tmp_path / name).write_bytes(HEIC + pixels.tobytes())
        assert what_is(tmp_path / name).picture
        assert np.array_equal(np.asarray(read_picture(tmp_path / name)), pixels)
    (tmp_path / "half.heic").write_bytes(HEIC)
    assert what_is(tmp_path / "half.heic").picture  # a wreck of a picture
    with pytest.raises(ImageError, match="truncated"):
        read_picture(tmp_path / "half.heic")


def test_heic_says_what_to_install(no_heif: None, tmp_path: Path) -> None:
    for name in ("phone.heic", "phone.bin"):
        (tmp_path / name).write_bytes(HEIC)
        assert "pip install pi-heif" in what_is(tmp_path / name).unread
        with pytest.raises(ImageError, match="pip install pi-heif"):
            read_picture(tmp_path / name)


def jpeg(width: int, height: int, **options: object) -> io.BytesIO:
    blob = io.BytesIO()
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 256
    Image.fromarray(ramp.astype(np.uint8)).convert("RGB").resize((width, height)).save(blob, "JPEG", **options)
    return blob


def test_huge_jpegs_are_read_at_half_their_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "PIXEL_LIMIT", 10_000)
    for options in ({}, {"progressive": True}):
        picture = read_picture(jpeg(160, 121, **options), max_pixels=10_000)
        assert picture.size == (80, 61)
        assert "160x121 is large; read at half its size" in fit(picture, Geometry(64, (64, 64)))[1][0]
    assert read_picture(jpeg(100, 100), max_pixels=10_000).size == (100, 100)
    with pytest.raises(ImageError, match="400x300 is more than 10000 pixels"):  # more than four times
        read_picture(jpeg(400, 300), max_pixels=10_000)
    with pytest.raises(ImageError, match="160x121 is more than 9000 pixels"):  # asked for
        read_picture(jpeg(160, 121), max_pixels=9_000)


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_of_several_frames_the_first_is_taken_and_that_is_said(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    many, one = io.BytesIO(), io.BytesIO()
    frames[0].save(many, form, save_all=True, append_images=frames[1:])
    frames[0].save(one, form)
    picture = read_picture(many)
    assert np.abs(np.asarray(picture).astype(int) - [255, 0, 0]).max() < 6
    assert "the first is taken" in picture.info[NOTE]
    assert read_picture(one).info == {}
