"""Edited crops back in their photos: nothing changes where nothing was edited, and files stay what they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from sdic.errors import ImageError
from sdic.faces import pasting
from sdic.faces.alignment import FaceCrop, align
from sdic.faces.ownmode import read_original, write_like
from sdic.faces.pasting import EditedFace, paste
from sdic.utils import decoding, memory
from sdic.utils.colour import to_rgb
from sdic.utils.images import read_picture
from tests.faces.test_alignment import face_at, photo_of
from tests.icc import matrix_profile

SIZE = (300, 260)
PLACES = [(150, 130, 110, 0), (150, 130, 120, 27), (40, 60, 200, 90), (20, 20, 90, -10)]


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture).astype(int)


def inside(crop: FaceCrop, margin: float = 0.0) -> np.ndarray:
    """Where the photo's pixels lie in a crop, by shares of its side."""
    width, height = crop.photo_size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    place = crop.to_crop(np.stack([x, y], -1).reshape(-1, 2)).reshape(height, width, 2) / crop.size
    return (np.minimum(place, 1 - place).min(-1) > margin).astype(bool)


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("place", PLACES)
def test_without_an_edit_nothing_changes(place: tuple[float, ...], size: int) -> None:
    photo = photo_of(*SIZE)
    picture, crop = align(photo, face_at(*place), size)
    assert np.array_equal(pixels(paste(photo, [EditedFace(picture, crop)])), pixels(photo))
    assert np.array_equal(pixels(paste(photo, [EditedFace(picture, crop, picture)])), pixels(photo))


@pytest.mark.parametrize("size", [64, 256])
@pytest.mark.parametrize("place", PLACES)
def test_a_crop_with_noise_stays_above_40_db(place: tuple[float, ...], size: int) -> None:
    """An inversion that is 2 levels off everywhere; the photo outside is untouched."""
    photo = photo_of(*SIZE)
    picture, crop = align(photo, face_at(*place), size)
    noise = np.random.default_rng(1).integers(-2, 3, (size, size, 3))
    edited = Image.fromarray((pixels(picture) + noise).clip(0, 255).astype(np.uint8))
    difference = pixels(paste(photo, [EditedFace(edited, crop)])) - pixels(photo)
    where = inside(crop)
    assert not difference[~where].any()
    assert 10 * np.log10(255**2 / (difference[where] ** 2).mean()) > 40


@pytest.mark.parametrize("place", PLACES[:3])
def test_an_edit_arrives_where_it_was_made(place: tuple[float, ...]) -> None:
    """A red square in the middle of a crop that is larger, and one that is smaller, than what it shows."""
    photo = photo_of(*SIZE)
    for size in (64, 256):
        picture, crop = align(photo, face_at(*place), size)
        third = size // 3
        picture.paste((200, 10, 10), (third, third, size - third, size - third))
        result = paste(photo, [EditedFace(picture, crop)])
        core = inside(crop, 0.40)
        assert core.sum() > 40
        assert np.abs(pixels(result)[core] - [200, 10, 10]).max() <= 12
        assert not (pixels(result) != pixels(photo))[~inside(crop)].any()


def test_a_seam_of_another_colour_is_evened_out() -> None:
    """An inversion that is 20 levels too bright all over leaves no edge, and keeps an edit in the middle."""
    photo = Image.new("RGB", SIZE, (120, 100, 90))
    picture, crop = align(photo, face_at(150, 130, 160, 8), 128)
    bright = Image.fromarray((pixels(picture) + 20).astype(np.uint8))
    result = pixels(paste(photo, [EditedFace(bright, crop)]))[:, :, 0] - 120
    band = inside(crop, 0.0) & ~inside(crop, 0.12)
    assert np.abs(result[band]).max() <= 5
    assert result[inside(crop, 0.45)].min() >= 16
    steps = np.abs(np.diff(result, axis=1))
    assert steps.max() <= 2


def test_two_faces_and_where_they_overlap() -> None:
    photo = Image.new("RGB", SIZE, (100, 100, 100))
    apart, near = [face_at(80, 130, 100), face_at(220, 130, 100, 10)], [face_at(120, 130, 120), face_at(180, 130, 120)]
    for faces, most in ((apart, 0), (near, 45)):
        edited = []
        for face, colour in zip(faces, ((140, 100, 100), (100, 140, 100)), strict=True):
            picture, crop = align(photo, face, 64)
            picture.paste(colour, (12, 12, 52, 52))
            edited.append(EditedFace(picture, crop))
        result = pixels(paste(photo, edited)) - 100
        for one, band in zip(edited, (0, 1), strict=True):
            assert result[inside(one.crop, 0.45)][:, band].min() > 30
        assert result.sum(-1).max() <= 55  # not twice (bicubic filters overshoot at a corner)
        assert ((result[:, :, 0] > 3) & (result[:, :, 1] > 3)).any() == bool(most)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_strips_make_no_difference(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A photo is changed by strips, so that a large one takes no more memory: faces that overlap, over the border."""
    photo = photo_of(*SIZE).convert(mode)
    edited = []
    for face in (face_at(60, 130, 120, 10), face_at(150, 150, 130), face_at(280, 60, 100)):
        picture, crop = align(to_rgb(photo), face, 64)
        before = picture.copy()
        picture.paste((140, 90, 60), (12, 12, 52, 52))
        edited.append(EditedFace(picture, crop, before))
    whole = pixels(paste(photo, edited))
    monkeypatch.setattr(pasting, "STRIP", 7 * SIZE[0])
    assert np.abs(pixels(paste(photo, edited)) - whole).max() <= 1  # rounding of the drawn planes' places
    assert (whole != pixels(photo)).mean() > 0.1


def test_a_crop_of_the_photo_read_at_half_its_size() -> None:
    photo = photo_of(301, 259)
    half = photo.resize((151, 130), Image.Resampling.BOX)
    picture, crop = align(half, face_at(75, 65, 60), 64)
    picture.paste((200, 10, 10), (21, 21, 43, 43))
    result = paste(photo, [EditedFace(picture, crop)])
    assert np.abs(pixels(result)[inside(crop.scaled_to((301, 259)), 0.42)] - [200, 10, 10]).mean() < 8
    for size in ((303, 259), (301, 262), (151, 259)):
        with pytest.raises(ImageError, match="of a photo of"):
            paste(photo_of(*size), [EditedFace(picture, crop)])


def test_photos_that_are_read_at_half_their_size_are_changed_at_their_full_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_of(301, 259).save(tmp_path / "large.jpg", quality=95)
    monkeypatch.setattr(decoding, "PIXEL_LIMIT", 50_000)
    read = read_picture(tmp_path / "large.jpg", 50_000)
    assert read.size == (151, 130)
    original = read_original(tmp_path / "large.jpg", 50_000)
    assert original.picture.size == (301, 259)
    picture, crop = align(read, face_at(75, 65, 60), 64)
    written = write_like(tmp_path / "out.jpg", paste(original.picture, [EditedFace(picture, crop, picture)]), original)
    assert Image.open(written).size == (301, 259)
    monkeypatch.setattr(decoding, "available", lambda: 900_000)
    with pytest.raises(ImageError, match=r"0\.0 GB of memory, 0\.0 are free"):
        read_original(tmp_path / "large.jpg", 50_000)
    monkeypatch.setattr(decoding, "available", lambda: None)  # nobody knows: tried
    assert read_original(tmp_path / "large.jpg", 50_000).picture.size == (301, 259)
    assert read_original(tmp_path / "large.jpg").picture.size == (301, 259)


def test_free_memory_is_that_of_the_system_or_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    assert memory.available() is None
    (tmp_path / "meminfo").write_text("MemTotal:  4000 kB\nMemAvailable:  2000 kB\n")
    assert memory.available() == 2000 << 10
    (tmp_path / "memory.current").write_text("900000\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 300000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() == 2000 << 10
    (tmp_path / "memory.max").write_text("1000000\n")
    assert memory.available() == 400_000


def test_other_photos_and_shapes_are_refused() -> None:
    picture, crop = align(photo_of(*SIZE), face_at(*PLACES[0]), 64)
    with pytest.raises(ImageError, match="of a photo of"):
        paste(photo_of(299, 260), [EditedFace(picture, crop)])
    with pytest.raises(ImageError, match="is square"):
        paste(photo_of(*SIZE), [EditedFace(picture.resize((64, 32)), crop)])
    with pytest.raises(ImageError, match="mode F"):
        paste(photo_of(*SIZE).convert("F"), [EditedFace(picture, crop)])


def made(mode: str) -> Image.Image:
    photo = photo_of(*SIZE)
    if mode == "RGBA":
        photo.putalpha(Image.fromarray(np.tile(np.arange(260, dtype=np.uint8)[:, None] | 1, (1, 300))))
        return photo
    if mode == "LA":
        return made("RGBA").convert("LA")
    if mode == "I;16":
        return Image.fromarray((pixels(photo.convert("L")) * 250 + 7).astype(np.uint16))
    return photo.convert(mode)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "CMYK", "I;16", "P", "1"])
def test_modes_stay(mode: str) -> None:
    photo = made(mode)
    picture, crop = align(to_rgb(photo), face_at(*PLACES[1]), 128)
    same = paste(photo, [EditedFace(picture, crop)])
    kept = {"P": "RGB", "1": "L"}.get(mode, mode)
    assert same.mode == kept
    assert np.array_equal(pixels(same), pixels(photo.convert(kept) if kept != mode else photo))
    picture.paste((60, 60, 60), (40, 40, 88, 88))
    edited = paste(photo, [EditedFace(picture, crop)])
    core = inside(crop, 0.42)
    assert (
        np.abs(pixels(to_rgb(edited if mode not in ("RGBA", "LA") else edited.convert(mode[:-1])))[core] - 60).mean()
        < 5
    )
    assert np.array_equal(pixels(edited)[~inside(crop)], pixels(same)[~inside(crop)])
    if mode in ("RGBA", "LA"):
        assert np.array_equal(np.asarray(edited)[..., -1], np.asarray(photo)[..., -1])


def exif_of(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    return exif.tobytes()


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 83, "subsampling": 2}),
        ("JPEG", {"quality": 97, "subsampling": 0, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_files_keep_format_exif_and_profile(form: str, options: dict[str, object], tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "photo.bin"
    photo_of(*SIZE).save(path, form, exif=exif_of(6), icc_profile=profile, **options)
    original = read_original(path)
    assert original.picture.size == (260, 300)  # upright
    picture, crop = align(to_rgb(original.picture), face_at(130, 150, 110, 10), 128)
    picture.paste((250, 10, 10), (40, 40, 88, 88))
    target = write_like(tmp_path / "out.png", paste(original.picture, [EditedFace(picture, crop)]), original)
    assert target.suffix == {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}[form]
    with Image.open(target) as again:
        turned = form == "TIFF"  # Pillow turns them itself; the others lie as they lay in the file
        assert (again.format, again.mode, again.size) == (form, "RGB", SIZE[::-1] if turned else SIZE)
        assert again.info["icc_profile"] == profile
        assert (again.getexif().get(0x010F), again.getexif().get(0x0112, 1)) == ("Maker", 1 if turned else 6)
        with Image.open(path) as before:
            if form == "JPEG":
                assert again.quantization == before.quantization  # type: ignore[attr-defined]
                assert again.info.get("progressive") == before.info.get("progressive")
                assert again.layer == before.layer  # type: ignore[attr-defined]
            before.load()
            where = inside(crop, -0.15) if turned else np.rot90(inside(crop, -0.15))
            outside = np.abs(pixels(again) - pixels(before))[~where]
            assert np.abs(pixels(again) - pixels(before))[where].max() > 100
    assert np.quantile(outside, 0.999) <= (10 if form == "JPEG" else 0)  # rounding, most in chroma
    assert outside.mean() < (1.5 if form == "JPEG" else 1e-9)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_goes_back_as_it_came(orientation: int, tmp_path: Path) -> None:
    photo_of(40, 30).save(tmp_path / "photo.png", exif=exif_of(orientation))
    original = read_original(tmp_path / "photo.png")
    assert np.array_equal(pixels(original.picture), pixels(read_picture(tmp_path / "photo.png")))
    again = Image.open(write_like(tmp_path / "out.png", original.picture, original))
    assert np.array_equal(pixels(again), pixels(photo_of(40, 30)))
    assert again.getexif().get(0x0112) == orientation


def test_colours_of_a_profile_stay_in_it(tmp_path: Path) -> None:
    """A Display P3 photo: no edit changes nothing, also of colours that sRGB does not have; an edit is drawn in P3."""
    photo = photo_of(*SIZE)
    photo.info["icc_profile"] = matrix_profile("p3")
    picture, crop = align(to_rgb(photo), face_at(*PLACES[0]), 128)
    assert np.array_equal(pixels(paste(photo, [EditedFace(picture, crop)])), pixels(photo))
    picture.paste((180, 90, 60), (40, 40, 88, 88))
    result = paste(photo, [EditedFace(picture, crop)])
    core = inside(crop, 0.42)
    assert np.abs(pixels(to_rgb(result))[core] - [180, 90, 60]).max() <= 3 + 12
    assert np.abs(pixels(result)[core] - [180, 90, 60]).mean() > 3
