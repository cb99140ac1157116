"""Pictures in and out: any photo file -> RGB, RGB <-> tensors in [-1, 1], PNG files that are whole or not there.

Shapes: H and W size of a picture; tensors are [3, H, W], float32, RGB.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from PIL import Image

from sdic.errors import ImageError
from sdic.utils.colour import NOTE, to_rgb
from sdic.utils.decoding import PIXEL_LIMIT, check_header, decoded, only_image_errors
from sdic.utils.files import atomic_file
from sdic.utils.kinds import HEAD, RAW, WEAK, Kind, by_name, recognised, unread_content
from sdic.utils.kinds import SUFFIXES as SUFFIXES
from sdic.utils.text import reason

if TYPE_CHECKING:
    from torch import Tensor

    from sdic.types import Geometry

PNG_LEVEL = 3  # of 9: half the time of Pillow's default for a few percent of size


def read_picture(source: str | os.PathLike[str] | IO[bytes], max_pixels: int = PIXEL_LIMIT) -> Image.Image:
    """A picture file, or an open binary file -> 8-bit RGB in sRGB, upright, as a viewer shows it.

    The colour profile (RGB, grey, CMYK) is applied, and a profile that is sRGB changes nothing; the EXIF rotation is
    applied; transparency is laid over white; 16-bit and 32-bit pictures are scaled to 8 bits (not clipped), float ones
    are refused; of an animation or several pages the first counts, and a JPEG of up to four times the default limit is
    read at half its size. The last two are said in `info[NOTE]`.

    Raises ImageError and nothing else, in one line that begins with the path. A picture of more than `max_pixels` is
    refused from its header, before anything is decoded, and so is a file that would take more bytes, scans or reads
    than any such picture needs (`sdic.utils.decoding`).
    """
    with open_picture(source) as handle, only_image_errors():
        picture = decoded(handle, max_pixels)
        result = to_rgb(picture)
        if result is picture:
            result = result.copy()
        notes = dict.fromkeys(one.info[NOTE] for one in (picture, result) if NOTE in one.info)
        result.info = {NOTE: "; ".join(notes)} if notes else {}  # the rest belongs to the file, not to these pixels
        return result


def check_picture(source: str | os.PathLike[str] | IO[bytes], max_pixels: int = PIXEL_LIMIT) -> None:
    """ImageError, as from `read_picture`, for what a file's header tells; no pixel is decoded."""
    with open_picture(source) as handle:
        check_header(handle, max_pixels)


def what_is(path: str | os.PathLike[str], handle: IO[bytes] | None = None) -> Kind:
    """What a file is, by its first bytes and its name; see `sdic.utils.kinds.Kind`. Never raises for what is in it.

    handle: the open file where `path` is but its name, as for the entries of a zip.

    The name counts where it is a picture's (a wreck with such a name is a picture, and reading it says what it is) or
    a RAW photo's (which is a TIFF by its content). Of other names the content counts, and last the name. A signature of
    two common bytes (BMP, PPM, icons ...) makes a picture only if the header can be read.
    """
    suffix = Path(path).suffix.lower()
    named = by_name(suffix)
    if named.picture or named.unread.startswith(RAW):
        return named
    try:
        with open_picture(path if handle is None else handle) as opened:
            opened.seek(0)
            head = opened.read(HEAD)
            names = recognised(head)
            unread = unread_content(head)
            if unread and (not names or unread.startswith(RAW)):
                return Kind(unread=named.unread or unread)
            if names and names[0] not in WEAK:
                return Kind(picture=True)
            if named.unread or not names:
                return named
            check_header(opened, PIXEL_LIMIT)
            return Kind(picture=True)
    except (ImageError, OSError, ValueError):
        return named


@contextlib.contextmanager
def open_picture(source: str | os.PathLike[str] | IO[bytes]) -> Iterator[IO[bytes]]:
    """A regular file, or the open one; ImageErrors from the block begin with the path."""
    if not isinstance(source, str | os.PathLike):
        yield source
        return
    path = Path(source)
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):  # a pipe would wait for ever
            raise ImageError(f"{'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}, not a picture")
        with open(path, "rb") as handle:
            yield handle
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error.__cause__
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        broken = isinstance(error, FileNotFoundError) and path.is_symlink()
        raise ImageError(f"{path}: {'a broken link' if broken else f'cannot be opened ({reason(error)})'}") from error


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


def in_levels(pictures: Tensor) -> Tensor:
    """Pictures of any shape in [-1, 1] (clamped), every value rounded to one of the 256 of a picture file."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


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
    notes: list[str] = []
    picture = to_rgb(picture)
    if NOTE in picture.info:
        notes.append(picture.info[NOTE])
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
