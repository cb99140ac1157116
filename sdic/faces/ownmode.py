"""Pixels of a photo in its own mode and colours, changed as their sRGB is, and files with what they had around them."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from PIL import Image, JpegImagePlugin

from sdic.errors import ImageError
from sdic.utils.colour import srgb_to
from sdic.utils.decoding import decoded, only_image_errors
from sdic.utils.files import atomic_file
from sdic.utils.images import PIXEL_LIMIT, open_picture
from sdic.utils.kinds import HEAD, recognised

ENDINGS = {
    name: ending
    for ending, names in {
        ".jpg": ("JPEG", "MPO"),
        ".png": ("PNG",),
        ".webp": ("WEBP",),
        ".tif": ("TIFF",),
        ".avif": ("AVIF",),
        ".bmp": ("BMP",),
        ".jp2": ("JPEG2000",),
        ".ppm": ("PPM",),
    }.items()
    for name in names
}
"""Formats that are written as they were read; photos of all others become PNG."""
_KEPT = ("RGB", "RGBA", "L", "LA", "CMYK", "I;16")
_AROUND = ("exif", "icc_profile", "xmp", "dpi", "comment")
_ORIENTATION = 0x0112
_T = Image.Transpose
_FORTH = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}
"""By EXIF's orientation, from the file to upright; `_BACK` undoes it."""
_BACK = {**_FORTH, 6: _T.ROTATE_90, 8: _T.ROTATE_270}
_TIFF_TAGS = (*(270, 271, 272, 274, 305, 306, 315, 316, 700, 33432), 33723)
"""Texts of a TIFF (description, maker, model, software, date, artist ...), its orientation, XMP and IPTC."""
KEPT = 10.0
"""Levels of 255: a change of so much takes most of a photo's finer detail away."""
LOSSY = 95  # quality where a format does not say what it had


@dataclass(frozen=True)
class Original:
    """A photo as its file has it. picture: upright, in its own mode. format: Pillow's name. info: what stands around
    the pixels. turn: how to turn `picture` to lie as in the file. options: how the format is to be written."""

    picture: Image.Image
    format: str
    info: dict[str, Any]
    turn: Image.Transpose | None
    options: dict[str, Any]


def read_original(source: str | os.PathLike[str] | IO[bytes], max_pixels: int = PIXEL_LIMIT) -> Original:
    """A photo with everything that `write_like` needs to make a file like it, at its full size. Raises ImageError only,
    also where there is not enough memory for that."""
    with open_picture(source) as handle, only_image_errors():
        stored = decoded(handle, max_pixels, upright=False, whole=True)
        form = stored.format or ""
        info = {name: stored.info[name] for name in _AROUND if stored.info.get(name)}
        orientation = 1
        with contextlib.suppress(Exception):  # damaged EXIF data: the picture itself is fine
            orientation = stored.getexif().get(_ORIENTATION, 1)
        back = _BACK.get(orientation) if isinstance(orientation, int) else None
        options = _options(form, stored, handle)
        picture = stored if back is None else stored.transpose(_FORTH[orientation])
        picture.info.setdefault("icc_profile", info.get("icc_profile"))
        return Original(picture, form, info, back, options)


def ending_of(source: str | os.PathLike[str] | IO[bytes], name: str) -> str:
    """How the name of a photo ends that `write_like` writes: as `name`, where that ending is one of its format."""
    with open_picture(source) as handle:
        handle.seek(0)
        form = (recognised(handle.read(HEAD)) or [""])[0]
    form = form if form in ENDINGS else "PNG"
    suffix = PurePosixPath(name).suffix
    return suffix if Image.registered_extensions().get(suffix.lower()) == form else ENDINGS[form]


def own_mode(photo: Image.Image) -> Image.Image:
    """The photo in a mode that can hold new colours: its own, or RGB(A) where that is a palette or a rare one."""
    if photo.mode in _KEPT:
        return photo
    if photo.mode == "1":
        mode = "L"
    elif photo.mode in ("La", "RGBa", "RGBX"):
        mode = {"La": "LA", "RGBa": "RGBA", "RGBX": "RGB"}[photo.mode]
    elif photo.mode in ("P", "PA"):
        mode = "RGBA" if photo.has_transparency_data else "RGB"
    else:  # 32 bits, floats, LAB: nothing to be put back into
        raise ImageError(f"a picture of the mode {photo.mode} cannot be pasted into; save it as 8-bit RGB or grey")
    result = photo.convert(mode)
    result.format, result.info = photo.format, {k: v for k, v in photo.info.items() if k != "transparency"}
    return result


def into_mode(own: Image.Image, old: Image.Image, new: Image.Image) -> Image.Image:
    """A part of a photo, changed as its sRGB is changed from `old` to `new`; where that is equal it stays as it is.

    What the photo has beyond its sRGB (colours of a larger space, 16 bits, a mixture of inks) stays where the change is
    small.
    """
    change = np.abs(np.asarray(old, np.float32) - np.asarray(new, np.float32)).max(-1)
    kept = np.exp(-((change / KEPT) ** 2))
    pixels = np.array(own)
    profile = own.info.get("icc_profile")
    colours = "CMYK" if own.mode == "CMYK" else "L" if own.mode[0] in "LI" else "RGB"
    unit, top = (257, 65535) if own.mode == "I;16" else (1, 255)
    before, after = (unit * np.asarray(srgb_to(one, colours, profile), np.float32) for one in (old, new))
    target = (
        pixels[..., : len(colours)]
        if own.mode in ("RGBA", "CMYK", "RGB")
        else pixels[..., 0]
        if own.mode == "LA"
        else pixels
    )
    beyond = (target - before) * (kept if colours == "L" else kept[..., None])
    target[...] = np.rint(after + beyond).clip(0, top)
    return Image.fromarray(pixels) if own.mode == "I;16" else Image.fromarray(pixels, own.mode)


def write_like(path: str | os.PathLike[str], picture: Image.Image, original: Original) -> Path:
    """Write a picture as the original was: format, quality, orientation, EXIF, profile; whole, or not at all.

    The path's ending becomes the format's. Returns the path.
    """
    form = original.format if original.format in ENDINGS else "PNG"
    form = "JPEG" if form == "MPO" else form
    path = Path(path)
    if Image.registered_extensions().get(path.suffix.lower()) != form:
        path = path.with_suffix(ENDINGS[form])
    picture = picture if original.turn is None else picture.transpose(original.turn)
    blob = io.BytesIO()
    with only_image_errors():
        picture.save(blob, form, **{**original.info, **(original.options if form != "PNG" else {})})
    with atomic_file(path) as handle:
        handle.write(blob.getbuffer())
    return path


def _options(form: str, stored: Image.Image, handle: IO[bytes]) -> dict[str, Any]:
    """How a format is to be written so that it is as the original."""
    if form in ("JPEG", "MPO"):
        sampling = JpegImagePlugin.get_sampling(stored)
        return {
            "qtables": stored.quantization,  # type: ignore[attr-defined]
            "subsampling": sampling if sampling in (0, 1, 2) else 0,
            "progressive": bool(stored.info.get("progressive")),
        }
    if form == "WEBP":
        return {"lossless": True} if _is_lossless(handle) else {"quality": LOSSY}
    if form == "AVIF":
        return {"quality": LOSSY}
    if form == "TIFF":
        tags = {tag: value for tag, value in stored.tag_v2.items() if tag in _TIFF_TAGS}  # type: ignore[attr-defined]
        return {"compression": stored.info.get("compression", "raw"), "tiffinfo": tags}
    return {}


def _is_lossless(handle: IO[bytes]) -> bool:
    """Whether a WebP's pixels are: its chunk of pixels says so, behind those of profile and EXIF."""
    place = 12
    for _ in range(100):
        handle.seek(place)
        head = handle.read(8)
        if len(head) < 8 or head[:4] == b"VP8 ":
            return False
        if head[:4] == b"VP8L":
            return True
        place += 8 + int.from_bytes(head[4:], "little") + (head[4] & 1)
    return False
