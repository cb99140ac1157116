"""Every kind of picture comes out right, and every kind of wreck is refused in one line."""

from __future__ import annotations

import io
import os
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from sdic.errors import ImageError
from sdic.types import Geometry
from sdic.utils.files import TEMPORARY_PREFIX
from sdic.utils.images import fit, read_picture, to_picture, to_tensor, write_png

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def through(picture: Image.Image, kind: str, **options) -> Image.Image:
    """Saved in a format and read again."""
    blob = io.BytesIO()
    picture.save(blob, kind, **options)
    blob.seek(0)
    return read_picture(blob)


def grey_error(picture: Image.Image, expected=GREY) -> float:
    assert picture.mode == "RGB"
    assert picture.size == (16, 16)
    return float(np.abs(np.asarray(picture, dtype=float) - np.asarray(expected, dtype=float)[..., None]).max())


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000"])
def test_grey_and_colour_survive_lossless_formats(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    assert grey_error(through(Image.fromarray(GREY), kind, **options)) == 0
    colour = Image.merge("RGB", [Image.fromarray(np.roll(GREY, shift)) for shift in (0, 1, 2)])
    if kind != "GIF":
        assert np.array_equal(np.asarray(through(colour, kind, **options)), np.asarray(colour))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_sixteen_bits_are_scaled_not_clipped(kind, dtype):
    if (kind, dtype) == ("PPM", ">u2"):
        pytest.skip("Pillow does not write it")
    deep = (GREY.astype(np.uint16) * 257).astype(dtype)
    assert grey_error(through(Image.fromarray(deep), kind)) == 0


@pytest.mark.parametrize("top", [255, 65535, 2**31 - 1])
def test_32_bit_integers_are_scaled_by_the_range_that_holds_them(top):
    deep = (GREY.astype(np.float64) / 255 * top).astype(np.int32)
    assert grey_error(through(Image.fromarray(deep), "TIFF")) <= 1


@pytest.mark.parametrize("top", [1.0, 65535.0, np.nan])
def test_float_pictures_are_refused_with_the_reason(top):
    with pytest.raises(ImageError, match="do not say what is white; save it as 16 bits"):
        through(Image.fromarray((GREY / 255 * top).astype(np.float32)), "TIFF")
    pfm = b"Pf\n16 16\n-1.0\n" + np.ones((16, 16), np.float32).tobytes()
    with pytest.raises(ImageError, match="do not say what is white"):
        read_picture(io.BytesIO(pfm))


def test_one_bit():
    bits = Image.fromarray((GREY > 99).astype(np.uint8) * 255).convert("1")
    assert grey_error(through(bits, "PNG"), (GREY > 99) * 255) == 0


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_over_white(mode):
    picture = Image.new("RGBA", (16, 16), (0, 0, 0, 255))
    picture.paste((0, 0, 0, 0), (0, 0, 8, 16))  # transparent black on the left
    picture = picture.quantize(4) if mode == "P" else picture.convert(mode)
    result = np.asarray(through(picture, "PNG"))
    assert (result[:, :8] == 255).all()
    assert (result[:, 8:] == 0).all()


def test_half_transparent_pixels_are_mixed():
    assert through(Image.new("RGBA", (16, 16), (0, 0, 0, 128)), "PNG").getpixel((0, 0)) == (127, 127, 127)


def test_a_transparent_colour_of_grey_and_rgb_files():
    result = through(Image.fromarray(GREY), "PNG", transparency=0)
    assert result.getpixel((0, 0)) == (255, 255, 255)
    assert result.getpixel((1, 0)) == (1, 1, 1)


def test_palette_without_transparency():
    assert grey_error(through(Image.fromarray(GREY).convert("RGB").quantize(256), "PNG")) == 0


def test_cmyk():
    picture = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = through(picture, "TIFF").getpixel((0, 0))
    assert (red, green, blue) == (0, 255, 255)
    jpeg = through(picture, "JPEG", quality=100).getpixel((0, 0))
    assert np.abs(np.subtract(jpeg, (0, 255, 255))).max() <= 3  # and not inverted, as Adobe's files are stored


def test_a_broken_colour_profile_does_not_matter():
    picture = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    assert through(picture, "TIFF", icc_profile=b"no profile").getpixel((0, 0)) == (0, 255, 255)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert grey_error(through(Image.fromarray(GREY).convert("RGB"), "PNG", icc_profile=srgb)) == 0


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_set_upright(orientation):
    upright = Image.fromarray(np.repeat(np.repeat(GREY[:6, :4] * 10, 8, 0), 8, 1))  # 32 x 48
    undo = {
        1: (),
        2: (Image.Transpose.FLIP_LEFT_RIGHT,),
        3: (Image.Transpose.ROTATE_180,),
        4: (Image.Transpose.FLIP_TOP_BOTTOM,),
        5: (Image.Transpose.TRANSPOSE,),
        6: (Image.Transpose.ROTATE_90,),
        7: (Image.Transpose.TRANSVERSE,),
        8: (Image.Transpose.ROTATE_270,),
    }
    stored = upright
    for step in undo[orientation]:
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    result = through(stored, "PNG", exif=exif)
    assert np.array_equal(np.asarray(result)[..., 0], np.asarray(upright))


def test_a_broken_exif_block_does_not_matter():
    result = through(Image.fromarray(GREY), "JPEG", exif=b"Exif\0\0broken", quality=100)
    assert grey_error(result) < 8


def test_the_first_frame_of_an_animation():
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if kind == "WEBP" else {}
        assert through(frames[0], kind, save_all=True, append_images=frames[1:], **options).getpixel((3, 3)) == (
            255,
            0,
            0,
        )


@pytest.mark.parametrize(
    ("name", "blob", "reason"),
    [
        ("empty.png", b"", "empty file"),
        ("text.jpg", b"hello, this is text", "not a picture"),
        ("short.png", b"\x89PNG\r\n\x1a\n\0\0", "damaged"),
        ("page.html", b"<html>", "not a picture"),
        ("eps.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a picture"),
        ("phone.heic", b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
    ],
)
def test_what_is_no_picture(tmp_path, name, blob, reason):
    (tmp_path / name).write_bytes(blob)
    with pytest.raises(ImageError, match=reason) as caught:
        read_picture(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind, keep):
    rng = np.random.default_rng(0)
    blob = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(blob, kind)
    whole = blob.getvalue()
    with pytest.raises(ImageError) as caught:
        read_picture(io.BytesIO(whole[: int(len(whole) * keep)]))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path):
    for path, reason in (
        (tmp_path, "a folder"),
        (tmp_path / "nothere.png", "No such file"),
        (tmp_path / "zero\0byte.png", "cannot be opened"),
    ):
        with pytest.raises(ImageError, match=reason):
            read_picture(path)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match="not a regular file"):
        read_picture(tmp_path / "pipe.png")


def test_a_decompression_bomb_is_refused_before_it_is_decoded():
    blob = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(blob, "PNG")
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="20000x20000 is more than"):
            read_picture(blob)
        blob = io.BytesIO()
        Image.new("1", (100, 100)).save(blob, "PNG")
        with pytest.raises(ImageError, match="max_pixels"):
            read_picture(blob, max_pixels=9_999)
        assert read_picture(io.BytesIO(blob.getvalue()), max_pixels=10_000).size == (100, 100)
    assert before == Image.MAX_IMAGE_PIXELS


def test_a_picture_above_pillows_own_warning_reads_in_silence_when_allowed(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # as if it were huge
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert grey_error(through(Image.fromarray(GREY), "PNG")) == 0


def test_tensors_and_pictures_are_inverse():
    picture = Image.merge("RGB", [Image.fromarray(np.roll(GREY, shift)) for shift in (0, 5, 9)])
    tensor = to_tensor(picture)
    assert tensor.shape == (3, 16, 16)
    assert tensor.dtype == torch.float32
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(np.asarray(to_picture(tensor)), np.asarray(picture))
    assert torch.equal(to_tensor(to_picture(tensor[None])), tensor)


def test_to_picture_clamps_and_rounds():
    values = torch.tensor([-3.0, -1.0, 0.6 / 127.5 - 1, 0.4 / 127.5 - 1, 1.0, 7.0])
    assert np.asarray(to_picture(values.expand(3, 1, 6)))[0, :, 0].tolist() == [0, 0, 1, 0, 255, 255]
    with pytest.raises(ImageError, match="not finite"):
        to_picture(torch.full((3, 2, 2), torch.nan))
    with pytest.raises(ValueError, match=r"\[3, H, W\]"):
        to_picture(torch.zeros(2, 3, 4, 4))


def test_write_png_is_whole_or_nothing(tmp_path, monkeypatch):
    path = tmp_path / "new" / "picture.png"
    write_png(path, torch.zeros(3, 8, 8))
    first = path.read_bytes()
    assert read_picture(path).getpixel((0, 0)) == (128, 128, 128)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_png(path, torch.ones(3, 8, 8))
    assert path.read_bytes() == first
    assert not list(tmp_path.rglob(TEMPORARY_PREFIX + "*"))


def test_fit_resizes_as_the_authors_code_does():
    rng = np.random.default_rng(0)
    photo = Image.fromarray(rng.integers(0, 256, (100, 100, 3), dtype=np.uint8))
    fitted, notes = fit(photo, Geometry(64, (32, 32)))
    assert notes == []
    assert np.array_equal(np.asarray(fitted), np.asarray(photo.resize((32, 32), Image.Resampling.BILINEAR)))
    same, notes = fit(fitted, Geometry(64, (32, 32)))
    assert notes == []
    assert np.array_equal(np.asarray(same), np.asarray(fitted))


def test_fit_crops_the_middle_and_says_so():
    photo = Image.new("RGB", (120, 60), "red")
    photo.paste("blue", (30, 0, 90, 60))
    fitted, notes = fit(photo, Geometry(64, (32, 32)))
    assert set(fitted.get_flattened_data()) == {(0, 0, 255)}
    assert len(notes) == 1
    assert "120x60 is not square; centre-cropped" in notes[0]
    _, notes = fit(Image.new("RGB", (101, 100)), Geometry(64, (32, 32)))
    assert notes == []  # a pixel is rounding


def test_fit_of_cars_keeps_four_to_three():
    cars = Geometry(512, (192, 256), (64, 448, 0, 512))
    fitted, notes = fit(Image.new("RGB", (400, 300)), cars)
    assert (fitted.size, notes) == ((256, 192), [])
    fitted, notes = fit(Image.new("RGB", (640, 300)), cars)
    assert fitted.size == (256, 192)
    assert "is not 256:192; centre-cropped" in notes[0]
    _, notes = fit(Image.new("RGB", (40, 30)), cars)
    assert "enlarged" in notes[0]
