"""Pictures in and out: any photo file -> RGB, RGB <-> tensors in [-1, 1], PNG files that are whole or not there.

Shapes: H and W size of a picture; tensors are [3, H, W], float32, RGB.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms, ImageOps

from sdic.errors import ImageError
from sdic.utils.files import atomic_file

if TYPE_CHECKING:
    from torch import Tensor

    from sdic.types import Geometry

PIXEL_LIMIT = 89_478_485
"""Above this Pillow itself warns of a decompression bomb; a 1024 px generator needs a hundredth of it."""

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM", "MPO", "PCX", "SGI", "ICO")
"""What is read. EPS and PDF are not pictures but programs, and formats without a signature accept any file."""

_PHOTO = "jpg jpeg jpe jfif mpo png webp avif heic heif tif tiff bmp dib gif jp2 j2k ppm pgm pbm pnm pfm pcx sgi ico"
SUFFIXES = frozenset("." + name for name in _PHOTO.split())
"""How names of photo files end (HEIC cannot be read, but whoever brings one wants to know)."""

PNG_LEVEL = 3  # of 9: half the time of Pillow's default for a few percent of size


def read_picture(source: str | os.PathLike[str] | IO[bytes], max_pixels: int = PIXEL_LIMIT) -> Image.Image:
    """A picture file, or an open binary file -> 8-bit RGB, upright, as a viewer shows it.

    The EXIF rotation is applied; transparency is laid over white; 16-bit, 32-bit and float pictures are scaled to 8
    bits (not clipped); CMYK goes through its colour profile if there is one; of an animation the first frame counts.
    Colour profiles of RGB pictures are left aside, as the methods' authors do. ImageError says in one line why a file
    cannot be read; a picture of more than `max_pixels` is refused from its header, before anything is decoded.
    """
    if not isinstance(source, str | os.PathLike):
        return _read(source, max_pixels)
    path = Path(source)
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # a pipe would wait for ever
            raise ImageError(f"{path}: {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}, not a picture")
        with open(path, "rb") as handle:
            return _read(handle, max_pixels)
    except ImageError as error:
        raise ImageError(str(error) if str(path) in str(error) else f"{path}: {error}") from error.__cause__
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ImageError(f"{path}: cannot be opened ({_reason(error)})") from error


def looks_like_picture(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the name or the signature of a picture; a wreck with a picture's name still looks like one."""
    path = Path(path)
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as handle:
            return bool(_recognised(handle.read(16)))
    except OSError:
        return False


def to_tensor(picture: Image.Image) -> Tensor:
    """A picture of any mode -> [3, H, W] float32 in [-1, 1], RGB."""
    import torch

    pixels = np.array(to_rgb(picture))
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(127.5).sub_(1)


def to_picture(tensor: Tensor) -> Image.Image:
    """[3, H, W] or [1, 3, H, W] in [-1, 1] (clamped), any device and float type -> 8-bit RGB, rounded."""
    import torch

    image = tensor.detach()
    image = image[0] if image.ndim == 4 and len(image) == 1 else image
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"a picture is [3, H, W] or [1, 3, H, W], got {list(tensor.shape)}")
    if not torch.isfinite(image).all():
        raise ImageError("the picture holds values that are not finite")
    pixels = image.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().contiguous().numpy())


def write_png(path: str | os.PathLike[str], picture: Image.Image | Tensor) -> None:
    """Write a picture, or a tensor as `to_picture` takes it, as PNG: whole, or not at all."""
    image = picture if isinstance(picture, Image.Image) else to_picture(picture)
    blob = io.BytesIO()
    image.save(blob, "PNG", compress_level=PNG_LEVEL)
    with atomic_file(path) as handle:
        handle.write(blob.getbuffer())


def fit(picture: Image.Image, geometry: Geometry) -> tuple[Image.Image, list[str]]:
    """A photo at the size the method looks at, and what had to be done to it that its owner should know.

    Resized by Pillow's antialiased bilinear filter, as the authors' code does. A photo of another shape than the
    domain's loses its margins first: squeezing would change the face, and the crop is said in the list.
    """
    height, width = geometry.input_size
    notes = []
    picture = to_rgb(picture)
    have_width, have_height = picture.size
    crop_width = min(have_width, max(1, round(have_height * width / height)))
    crop_height = min(have_height, max(1, round(have_width * height / width)))
    if have_width - crop_width > 1 or have_height - crop_height > 1:  # one pixel is rounding
        left, top = (have_width - crop_width) // 2, (have_height - crop_height) // 2
        picture = picture.crop((left, top, left + crop_width, top + crop_height))
        if height == width:
            notes.append(
                f"{have_width}x{have_height} is not square; centre-cropped (faces must be aligned as in FFHQ: "
                "eyes and mouth at their usual places)"
            )
        else:
            notes.append(f"{have_width}x{have_height} is not {width}:{height}; centre-cropped")
    if picture.width < width or picture.height < height:
        notes.append(f"{have_width}x{have_height} is smaller than the {width}x{height} the model looks at; enlarged")
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return picture, notes


def to_rgb(picture: Image.Image) -> Image.Image:
    """Any Pillow mode -> RGB, by the rules of `read_picture`."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode[:2] == "I;" or picture.mode in ("I", "F"):
        return _from_deep(picture).convert("RGB")
    if picture.mode == "CMYK" and picture.info.get("icc_profile"):
        with contextlib.suppress(ImageCms.PyCMSError, OSError):  # a broken profile: the plain rule is next best
            profile = ImageCms.ImageCmsProfile(io.BytesIO(picture.info["icc_profile"]))
            converted = ImageCms.profileToProfile(picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
            if converted is not None:
                return converted
    if picture.mode == "LAB":
        profiles = (ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"))
        converted = ImageCms.profileToProfile(picture, *profiles, outputMode="RGB")
        assert converted is not None
        return converted
    if picture.has_transparency_data:
        layer = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return picture.convert("RGB")


def _from_deep(picture: Image.Image) -> Image.Image:
    """One channel of more than 8 bits -> 8-bit grey, scaled by the range of its type."""
    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise ImageError("holds values that are not finite")
    top = values.max(initial=0.0)
    if picture.mode[:2] == "I;" or (picture.format in ("PNG", "PPM") and picture.mode == "I"):
        full = 65535.0
    else:  # 32-bit and float files do not say their range: the smallest usual one that holds the picture
        unit = (1.0,) if picture.mode == "F" else ()
        full = next((size for size in (*unit, 255.0, 65535.0, 2.0**31 - 1) if top <= size), top)
    return Image.fromarray(np.rint(values.clip(0, full) * (255 / full)).astype(np.uint8))


def _read(handle: IO[bytes], max_pixels: int) -> Image.Image:
    try:
        picture = _identify(handle)
        width, height = picture.size
        if width < 1 or height < 1:
            raise ImageError(f"zero-sized ({width}x{height})")
        if width * height > max_pixels:
            raise ImageError(
                f"{width}x{height} is more than {max_pixels} pixels (a decompression bomb?); resize it, or raise the "
                "limit with max_pixels=N"
            )
        picture.load()
        with contextlib.suppress(Exception):  # damaged EXIF data: the picture itself is fine
            picture = ImageOps.exif_transpose(picture) or picture
        result = to_rgb(picture)
        return result if result is not picture else result.copy()
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("not enough memory to decode it") from error
    except Exception as error:  # decoders of damaged files raise whatever they stumble over
        raise ImageError(f"truncated or damaged ({_reason(error)})") from error


def _identify(handle: IO[bytes]) -> Image.Image:
    """What `Image.open` does, without its own pixel limit: that one is a global of the process, and it warns."""
    handle.seek(0)
    prefix = handle.read(16)
    if not prefix:
        raise ImageError("empty file")
    for name in _recognised(prefix):
        factory, _ = Image.OPEN[name]
        handle.seek(0)
        with contextlib.suppress(SyntaxError, IndexError, TypeError, KeyError, EOFError, struct.error):
            return factory(handle, "")
        raise ImageError(f"truncated or damaged ({name} signature, unreadable header)")
    if prefix[4:8] == b"ftyp" and prefix[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1"):
        raise ImageError("HEIC, which sdic does not read; convert it to JPEG or PNG")
    raise ImageError("not a picture that sdic reads (JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, PNM)")


def _recognised(prefix: bytes) -> list[str]:
    """The formats whose signature a file of these first 16 bytes has."""
    Image.init()
    names = []
    for name in FORMATS:
        if name in Image.OPEN:  # else a Pillow built without this library
            accept = Image.OPEN[name][1]
            if accept is not None and accept(prefix) is True:
                names.append(name)
    return names


def _reason(error: BaseException) -> str:
    """The error in one short line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:200] or type(error).__name__
