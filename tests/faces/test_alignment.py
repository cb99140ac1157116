"""The crop against FFHQ's recipe written down plainly (as its authors publish it), with SciPy's Gaussian."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from sdic.errors import ImageError
from sdic.faces.alignment import FaceCrop, align, ffhq_quad, gaussian, is_aligned
from sdic.faces.points import Face

STANDARD = np.array([[0.375, 0.478], [0.625, 0.478], [0.408, 0.700], [0.592, 0.700]])
"""About where eyes and mouth are in a crop, as shares of its side."""


def photo_of(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth picture with some noise."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(
        (width, height), Image.BICUBIC
    )
    noise = random.integers(-9, 10, (height, width, 3))
    return Image.fromarray((np.asarray(coarse).astype(int) + noise).clip(0, 255).astype(np.uint8))


def face_at(x: float, y: float, side: float, roll: float = 0.0) -> Face:
    """A face whose crop has about this centre, side and roll (degrees)."""
    turn = math.radians(roll)
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    return Face((STANDARD - 0.5) * side @ matrix + [x, y])


def recipe(image: Image.Image, face: Face, size: int) -> Image.Image:
    """FFHQ's recipe, step by step, in float64 and with SciPy."""
    ndimage = pytest.importorskip("scipy.ndimage")
    left, right, mouth_left, mouth_right = face.points
    eye, eyes = (left + right) / 2, right - left
    down = (mouth_left + mouth_right) / 2 - eye
    x = eyes - np.flipud(down) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eyes) * 2.0, np.hypot(*down) * 1.8)
    y = np.flipud(x) * [-1, 1]
    c = eye + down * 0.1
    quad = np.stack([c - x - y, c - x + y, c + x + y, c + x - y])
    side = np.hypot(*x) * 2
    shrink = int(np.floor(side / size * 0.5))
    if shrink > 1:
        image = image.resize(
            (int(np.rint(image.width / shrink)), int(np.rint(image.height / shrink))), Image.Resampling.LANCZOS
        )
        quad, side = quad / shrink, side / shrink
    border = max(int(np.rint(side * 0.1)), 3)
    low, high = np.floor(quad.min(0)), np.ceil(quad.max(0))
    box = (
        *(int(max(n - border, 0)) for n in low),
        *(int(min(n + border, m)) for n, m in zip(high, image.size, strict=True)),
    )
    if box[2] - box[0] < image.width or box[3] - box[1] < image.height:
        image, quad = image.crop(box), quad - box[:2]
    low, high = np.floor(quad.min(0)), np.ceil(quad.max(0))
    pad = [max(border - low[0], 0), max(border - low[1], 0)]
    pad += [max(high[0] - image.width + border, 0), max(high[1] - image.height + border, 0)]
    if max(pad) > border - 4:
        pad = np.maximum(np.array(pad), np.rint(side * 0.3)).astype(int)
        full = np.pad(np.float32(image), ((pad[1], pad[3]), (pad[0], pad[2]), (0, 0)), "reflect").astype(np.float64)
        h, w, _ = full.shape
        yy, xx, _ = np.ogrid[:h, :w, :1]
        mask = np.maximum(
            1 - np.minimum(xx / pad[0], (w - 1 - xx) / pad[2]), 1 - np.minimum(yy / pad[1], (h - 1 - yy) / pad[3])
        )
        blur = side * 0.02
        full += (ndimage.gaussian_filter(full, [blur, blur, 0]) - full) * np.clip(mask * 3 + 1, 0, 1)
        full += (np.median(full, axis=(0, 1)) - full) * np.clip(mask, 0, 1)
        image = Image.fromarray(np.uint8(np.clip(np.rint(full), 0, 255)))
        quad += pad[:2]
    drawn = image.transform(
        (4 * size, 4 * size), Image.Transform.QUAD, (quad + 0.5).flatten().tolist(), Image.Resampling.BILINEAR
    )
    return drawn.resize((size, size), Image.Resampling.LANCZOS)


@pytest.mark.parametrize(
    ("photo_size", "face", "size"),
    [
        ((300, 260), (150, 130, 110, 0), 64),  # inside
        ((300, 260), (150, 130, 120, 27), 64),  # turned
        ((700, 640), (330, 300, 460, -12), 64),  # reduced by three first
        ((300, 260), (70, 60, 200, 15), 64),  # over the left and upper edge
        ((200, 180), (100, 90, 320, 5), 128),  # larger than the photo
        ((900, 800), (120, 700, 700, 90), 256),  # a wide blur, over an edge
    ],
)
def test_the_crop_is_the_recipe_s(photo_size: tuple[int, int], face: tuple[float, ...], size: int) -> None:
    photo, there = photo_of(*photo_size), face_at(*face)
    found, _ = align(photo, there, size)
    expected = recipe(photo, there, size)
    difference = np.abs(np.asarray(found).astype(int) - np.asarray(expected))
    assert found.size == (size, size)
    assert difference.max() <= 1
    assert difference.mean() < 0.02


def test_a_wide_blur_is_computed_on_less_pixels_and_is_the_same() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    plane = np.asarray(photo_of(611, 487).convert("L"), np.float32)
    for sigma in (3.0, 14.0, 31.7):
        expected = ndimage.gaussian_filter(plane.astype(np.float64), sigma)
        assert np.abs(gaussian(plane, sigma) - expected).max() < 0.05


@pytest.mark.parametrize("face", [(150, 130, 110, 0), (150, 130, 120, 27), (40, 60, 200, 90)])
def test_the_record_leads_from_the_crop_to_the_photo_and_back(face: tuple[float, ...]) -> None:
    """A bright disc of the photo lies in the crop where the record says."""
    there = face_at(*face)
    _, place = align(photo_of(300, 260), there, 128)
    spot = np.array([face[0] + 12.0, face[1] + 20.0])
    y, x = np.mgrid[:260, :300] + 0.5
    disc = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / 18) * 255
    crop, _ = align(Image.fromarray(disc.astype(np.uint8)).convert("RGB"), there, 128)
    weight = (np.asarray(crop.convert("L"), float) - 60).clip(0)
    y, x = np.mgrid[:128, :128] + 0.5
    centre = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    np.testing.assert_allclose(place.to_crop(spot[None])[0], centre, atol=0.1)
    np.testing.assert_allclose(place.to_photo(place.to_crop(spot[None]))[0], spot, atol=1e-9)
    assert FaceCrop.from_text(place.to_text()) == place


def test_a_photo_that_is_a_crop_is_recognised() -> None:
    assert is_aligned((512, 512), face_at(256, 256, 512))
    assert is_aligned((512, 512), face_at(262, 250, 530, 2))
    assert not is_aligned((512, 480), face_at(256, 240, 500))
    assert not is_aligned((512, 512), face_at(290, 256, 512))
    assert not is_aligned((512, 512), face_at(256, 256, 400))
    assert not is_aligned((512, 512), face_at(256, 256, 512, 8))


def test_crops_beside_the_photo_and_odd_records_are_refused() -> None:
    photo = photo_of(64, 48)
    for face in (face_at(400, 20, 60), face_at(30, 20, 2), face_at(30, 20, 4000)):
        with pytest.raises(ImageError, match="does not lie in this photo"):
            align(photo, face, 64)
    with pytest.raises(ImageError, match="as in a face"):
        ffhq_quad(Face(np.array([[0, 0], [0, 0], [0, 0], [0, 0.0]])))
    corners = ((0.0, 0.0), (0.0, 64.0), (64.0, 64.0), (64.0, 0.0))
    good = FaceCrop(corners, 64, (64, 48)).to_text()
    changes = [("64", "-64"), ("48", "1e999"), ("0", "1e999"), ("[0.0, 64.0]", "[0.0, 9.0]")]
    for text in ["", "[]", "{}", '{"a": 1}', "[" * 99999, *(good.replace(*change) for change in changes)]:
        with pytest.raises(ImageError):
            FaceCrop.from_text(text)
