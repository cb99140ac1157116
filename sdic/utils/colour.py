"""Any Pillow mode -> 8-bit RGB in sRGB, in strips, so that a large picture needs no further copies of itself."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import Literal

import numpy as np
from PIL import Image, ImageCms

from sdic.errors import ImageError

STRIP = 1 << 20
"""Pixels that are converted at a time."""

NOTE = (34675, 0)
"""Where `info` of a converted picture keeps what its owner should know. No file can write there: keys of files are
texts. (34675 is TIFF's number for a colour profile.)"""

BAD_PROFILE = "its colour profile is damaged or does not fit; its colours are taken as they are"
_GREY = ("1", "L", "LA", "La", "I", "F")
_SPACES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_SAME = 1  # levels: a profile that moves no colour further is sRGB itself, and the pixels stay what they are


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB: colours by the picture's profile, transparency over white, deep values scaled to 8 bits.

    The result has no profile any more. `info[NOTE]` says so when there was one that cannot be used. ImageError for
    values that are not finite.
    """
    transform, note = None, ""
    profile = picture.info.get("icc_profile")
    if isinstance(profile, bytes) and profile and picture.mode != "LAB":
        try:
            transform = _to_srgb(profile, _colours(picture.mode))
        except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
            note = BAD_PROFILE
    if picture.mode == "RGB" and "transparency" not in picture.info and transform is None and not note:
        return picture
    scale = _depth(picture)
    result = Image.new("RGB", picture.size)
    for box in _strips(picture):
        part = picture.crop(box)
        result.paste(_converted(part if scale is None else _in_8_bits(part, scale), transform), box[:2])
    if note:
        result.info[NOTE] = note
    return result


def srgb_to(picture: Image.Image, mode: str, profile: object = None) -> Image.Image:
    """The inverse of `to_rgb` for pictures without transparency: RGB in sRGB -> "RGB", "L" or "CMYK" in a profile's
    colours, by Pillow's own formulas where there is no profile or it cannot be used."""
    transform = None
    if isinstance(profile, bytes) and profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            transform = _from_srgb(profile, mode)
    return (picture if transform is None else transform.apply(picture)).convert(mode)


@functools.lru_cache(maxsize=32)
def _from_srgb(profile: bytes, colours: str) -> ImageCms.ImageCmsTransform | None:
    """The way back of `_to_srgb`, None where that changes nothing."""
    way = _to_srgb(profile, colours)
    if way is None:
        return None
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    flags = ImageCms.Flags.NOOPTIMIZE if way.input_mode == "L" else ImageCms.Flags.NONE
    return ImageCms.ImageCmsTransform(_made("sRGB"), source, "RGB", way.input_mode, flags=flags)


def _converted(part: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    if part.mode == "LAB":
        return _lab().apply(part)
    if transform is not None and transform.input_mode == "CMYK":
        return transform.apply(part)
    if not part.has_transparency_data:
        return _coloured(part, transform)
    layer = (part.convert("LA") if part.mode == "La" else part).convert("RGBA")
    alpha = layer.getchannel("A")
    layer = _coloured(layer, transform).convert("RGBA")
    layer.putalpha(alpha)
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _coloured(part: Image.Image, transform: ImageCms.ImageCmsTransform | None) -> Image.Image:
    part = part.convert("RGB")
    return part if transform is None else transform.apply(part.convert(transform.input_mode))


def _colours(mode: str) -> str:
    """What a picture's values mean: "CMYK", "L" or "RGB"."""
    return "CMYK" if mode == "CMYK" else "L" if mode in _GREY or mode[:2] == "I;" else "RGB"


@functools.lru_cache(maxsize=32)
def _to_srgb(profile: bytes, colours: str) -> ImageCms.ImageCmsTransform | None:
    """How to convert, or None where nothing changes. ValueError for a profile of other colours; those of ImageCms."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _SPACES.get(source.profile.xcolor_space)
    if mode is None or (mode != colours and (mode, colours) != ("RGB", "L")):
        raise ValueError(f"a profile for {source.profile.xcolor_space}")
    # The table that replaces a grey curve is up to 10 levels off; those of the others are below one.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    transform = ImageCms.ImageCmsTransform(source, _made("sRGB"), mode, "RGB", flags=flags)
    probe = _probe(mode)
    if probe is not None:
        before, after = (np.asarray(part, dtype=int) for part in (probe.convert("RGB"), transform.apply(probe)))
        if np.abs(before - after).max() <= _SAME:
            return None
    return transform


@functools.lru_cache(maxsize=1)
def _lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.ImageCmsTransform(_made("LAB"), _made("sRGB"), "LAB", "RGB")


def _made(space: Literal["LAB", "sRGB"]) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(space))


def _probe(mode: str) -> Image.Image | None:
    """All greys, or 17^3 colours."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    if mode == "RGB":
        levels = np.linspace(0, 255, 17).round().astype(np.uint8)
        return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), -1).reshape(17, -1, 3))
    return None


def _strips(picture: Image.Image) -> Iterator[tuple[int, int, int, int]]:
    """Boxes of whole rows (of parts of rows, where a single one is longer) that make up a picture."""
    wide = min(picture.width, STRIP)
    high = max(1, STRIP // wide)
    for top in range(0, picture.height, high):
        for left in range(0, picture.width, wide):
            yield left, top, min(left + wide, picture.width), min(top + high, picture.height)


def _depth(picture: Image.Image) -> float | None:
    """The value that is white, of a picture with more than 8 bits; None for others."""
    mode = picture.mode
    if mode not in ("I", "F") and mode[:2] != "I;":
        return None
    top = 0.0
    for box in _strips(picture) if mode in ("I", "F") else ():
        values = np.asarray(picture.crop(box))
        if not np.isfinite(values).all():
            raise ImageError("holds values that are not finite")
        top = max(top, float(values.max(initial=0)))
    if mode[:2] == "I;" or (mode == "I" and picture.format in ("PNG", "PPM")):
        return 65535.0
    # 32-bit and float files do not say their range: the smallest usual one that holds the picture
    unit = (1.0,) if mode == "F" else ()
    return next((size for size in (*unit, 255.0, 65535.0, 2.0**31 - 1) if top <= size), top)


def _in_8_bits(part: Image.Image, white: float) -> Image.Image:
    values = np.asarray(part).astype(np.float64)
    return Image.fromarray(np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8))
