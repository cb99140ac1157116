"""Files of strangers through Pillow's decoders, with limits to size, work and memory.

Pillow limits the pixels. That is not enough: a small file can make its reader loop (scans, blocks, comments), read the
same bytes again and again, or hold a larger picture than it says. Every limit here is far above what photos need.

ImageError is the only error that leaves this module, whatever the bytes are.
"""

from __future__ import annotations

import contextlib
import re
import struct
import warnings
from collections.abc import Iterator
from typing import IO, Any, cast

from PIL import BmpImagePlugin, IcoImagePlugin, Image, ImageFile, ImageOps, PngImagePlugin

from sdic.errors import ImageError
from sdic.utils.colour import NOTE
from sdic.utils.kinds import HEAD, RAW, UNREAD, recognised, unread_content
from sdic.utils.memory import available
from sdic.utils.text import reason

MEGABYTE = 1 << 20
PIXEL_LIMIT = 89_478_485
"""Above this Pillow itself warns of a decompression bomb; a 1024 px generator needs a hundredth of it."""
HEADER_READS = 20_000
"""How often a header may be read from; photos need some hundreds."""
HEADER_BYTES = 32 * MEGABYTE
"""What stands before the pixels of a JPEG, PNG or GIF (their readers append block to block, in quadratic time)."""
_FULL = (0x0100, 0)
"""Where `info` keeps how many pixels a reduced JPEG has. No file can write there (see `sdic.utils.colour.NOTE`)."""
SCANS = 100
"""Passes over the picture in a JPEG; encoders make about ten."""
SCAN_PIXELS = 1_500_000_000
"""Scans times pixels: sixteen scans of the largest picture that is allowed unless asked for."""
SLOW_PIXELS = 1 << 25
"""For decoders that Pillow has in Python: run-length BMP, and PPM that is text or of odd depth."""
COPIES = 4
"""Of a picture, while it is changed: as it was, turned, changed, and what is written."""
COMMENTS = 1000
"""In a PPM that is text; the time for each is that of its whole block."""

_WHOLE = ("WEBP", "AVIF", "HEIF")  # read into memory whole before anything is known of them
_BLOCKS = ("JPEG", "PNG", "GIF")
_SLOW = ("bmp_rle", "ppm", "ppm_plain")
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
# What these warn of in a damaged file is either an ImageError or does not matter, and a hostile file makes thousands.
warnings.filterwarnings("ignore", module=r"PIL\.\w+ImagePlugin")

_DNG_VERSION, _TILE_WIDTH, _TILE_LENGTH = 50706, 322, 323


def byte_limit(max_pixels: int) -> int:
    """Bytes of the largest file that is looked at: 8 a pixel (16-bit RGB with alpha), and room for the rest."""
    return 64 * MEGABYTE + 8 * max_pixels


def decoded(handle: IO[bytes], max_pixels: int, upright: bool = True, whole: bool = False) -> Image.Image:
    """An open binary file -> its picture, in the file's own mode, decoded and (if `upright`) turned. ImageError.

    whole: a JPEG that would be read at half its size is read as it is, if there is memory to change it.
    """
    with only_image_errors():
        picture, metered = _opened(handle, max_pixels, whole)
        max_pixels = max(max_pixels, picture.width * picture.height) if whole else max_pixels
        _check_work(picture, handle)
        _note_frames(picture)
        pixels = picture.width * picture.height
        slow = any(tile[0] in _SLOW for tile in picture.tile)
        metered.allow(HEADER_READS + (2 * pixels if slow else pixels // 16), 2 * metered.size + 8 * pixels + MEGABYTE)
        picture.load()
        _check_size(picture.size, max_pixels)
        if upright:
            with contextlib.suppress(Exception):  # damaged EXIF data: the picture itself is fine
                ImageOps.exif_transpose(picture, in_place=True)
        return picture


def check_header(handle: IO[bytes], max_pixels: int) -> None:
    """ImageError for what is wrong with an open binary file as far as its header tells; nothing is decoded."""
    with only_image_errors():
        _opened(handle, max_pixels)


@contextlib.contextmanager
def only_image_errors() -> Iterator[None]:
    """Turn whatever a decoder stumbles over into an ImageError of one line."""
    try:
        yield
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("not enough memory to decode it") from error
    except Exception as error:  # decoders of damaged files raise what they like
        raise ImageError(f"truncated or damaged ({reason(error)})") from error


class _Metered:
    """A file of which only so much may be read, in so many reads: no header is worth more than its file."""

    def __init__(self, handle: IO[bytes]):
        self._handle = handle
        self.size = handle.seek(0, 2)
        self.allow(HEADER_READS, self.size + MEGABYTE)

    def allow(self, reads: int, count: int) -> None:
        """What may be read from now on."""
        self._reads, self._bytes = reads, count

    def read(self, size: int = -1) -> bytes:
        """As a file's; ImageError when the allowance is used up."""
        data = self._handle.read(size)
        self._reads -= 1
        self._bytes -= len(data)
        if self._reads < 0 or self._bytes < 0:
            raise ImageError("takes more work than a picture is worth (a decompression bomb?)")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)


def _opened(handle: IO[bytes], max_pixels: int, whole: bool = False) -> tuple[ImageFile.ImageFile, _Metered]:
    """What `Image.open` does, without its own pixel limit: that one is a global of the process, and it warns."""
    metered = _Metered(handle)
    handle.seek(0)
    head = handle.read(HEAD)
    if not head:
        raise ImageError("empty file")
    names = recognised(head)
    unread = unread_content(head)
    if not names or unread.startswith(RAW):  # CR2 is a TIFF, in which others find but a small preview
        raise ImageError(
            unread or "not a picture that sdic reads (JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, JPEG 2000, PNM)"
        )
    name = names[0]
    limit = 64 * MEGABYTE + 2 * max_pixels if name in _WHOLE else byte_limit(max_pixels)
    if metered.size > limit:
        raise ImageError(f"{metered.size >> 20} MB are more than any {name} file of {max_pixels} pixels needs")
    if name in _BLOCKS:
        metered.allow(HEADER_READS, HEADER_BYTES)
    handle.seek(0)
    stream = cast(IO[bytes], metered)
    try:
        if name == "ICO":
            _check_icon(stream, max_pixels)
            handle.seek(0)
        picture = cast(ImageFile.ImageFile, Image.OPEN[name][0](stream, ""))
    except (SyntaxError, IndexError, TypeError, KeyError, EOFError, struct.error) as error:
        raise ImageError(f"truncated or damaged ({name} signature, unreadable header)") from error
    if _is_reduced(picture, max_pixels):
        if whole:
            _check_memory(picture)
            return picture, metered
        _reduce(picture)
    _check_size(picture.size, max_pixels)
    _check_insides(name, picture, max_pixels)
    return picture, metered


def _is_reduced(picture: ImageFile.ImageFile, max_pixels: int) -> bool:
    """Whether it is a JPEG of more pixels than the default limit, which its coding allows to decode at half its size.

    A lower limit than the default is someone's wish, and is kept to.
    """
    pixels = picture.width * picture.height
    return picture.format in ("JPEG", "MPO") and PIXEL_LIMIT <= max_pixels < pixels <= 4 * max_pixels


def _reduce(picture: ImageFile.ImageFile) -> None:
    width, height = picture.size
    picture.draft(None, (width // 2, height // 2))
    if picture.size != (width, height):
        picture.info[_FULL] = width * height
        picture.info[NOTE] = f"{width}x{height} is large; read at half its size"


def _check_memory(picture: ImageFile.ImageFile) -> None:
    """ImageError where a large picture and its changed copies would not fit into memory."""
    need = COPIES * picture.width * picture.height * len(picture.getbands())
    free = available()
    if free is not None and need > free:
        raise ImageError(
            f"{picture.width}x{picture.height}: to change it takes {need / 1e9:.1f} GB of memory, {free / 1e9:.1f} are "
            "free; free some, or save it smaller"
        )


def _note_frames(picture: ImageFile.ImageFile) -> None:
    """Say of a picture with several frames or pages that the first is taken."""
    several = False
    with contextlib.suppress(Exception):  # a damaged second frame does not concern the first
        if picture.format == "TIFF":
            picture.seek(1)
            several = True
        elif picture.format in ("GIF", "WEBP", "PNG", "AVIF", "HEIF"):
            several = bool(getattr(picture, "is_animated", False))
    if picture.format == "TIFF" and several:
        picture.seek(0)
    if several:
        picture.info[NOTE] = "several frames or pages; the first is taken"


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(f"zero-sized ({width}x{height})")
    if width * height > max_pixels:
        raise ImageError(
            f"{width}x{height} is more than {max_pixels} pixels (a decompression bomb?); resize it, or raise the "
            "limit with max_pixels=N"
        )


def _check_insides(name: str, picture: ImageFile.ImageFile, max_pixels: int) -> None:
    """What a format can hide behind an innocent size."""
    _check_slowness(picture)
    if picture.mode == "F":
        raise ImageError("its pixels are floating-point numbers, which do not say what is white; save it as 16 bits")
    if name == "TIFF":
        tags = cast(Any, picture).tag_v2
        if _DNG_VERSION in tags:
            raise ImageError(UNREAD[".dng"])
        tile = tags.get(_TILE_WIDTH, 1), tags.get(_TILE_LENGTH, 1)
        if all(isinstance(side, int) and side > 0 for side in tile):
            _check_size(tile, max(max_pixels, MEGABYTE))


def _check_icon(handle: IO[bytes], max_pixels: int) -> None:
    """Pillow decodes an icon when it opens it, and only then knows the size of what is inside."""
    icon = IcoImagePlugin.IcoFile(handle)
    start = icon.entry[0].offset
    handle.seek(start)
    is_png = handle.read(8) == PngImagePlugin._MAGIC
    handle.seek(start)
    inner = (PngImagePlugin.PngImageFile if is_png else BmpImagePlugin.DibImageFile)(handle, "")
    _check_size(inner.size, max_pixels if is_png else 2 * max_pixels)  # a bitmap's height counts its mask too
    _check_slowness(inner)


def _check_slowness(picture: ImageFile.ImageFile) -> None:
    if picture.tile and picture.tile[0][0] in _SLOW and picture.width * picture.height > SLOW_PIXELS:
        raise ImageError(f"{picture.width}x{picture.height} in a coding that takes long; save it again, as PNG")


def _check_work(picture: ImageFile.ImageFile, handle: IO[bytes]) -> None:
    """What takes a look at the whole file, and is therefore left until the picture is to be decoded."""
    place = handle.tell()
    handle.seek(0)
    if picture.format in ("JPEG", "MPO"):
        scans = _scans(handle.read())
        pixels = picture.info.get(_FULL, picture.width * picture.height)
        if scans > SCANS or scans * pixels > SCAN_PIXELS:
            raise ImageError(f"{scans} scans of {picture.width}x{picture.height} (a decompression bomb?)")
    elif picture.tile and picture.tile[0][0] == "ppm_plain" and handle.read().count(b"#") > COMMENTS:
        raise ImageError("a PPM with thousands of comments")
    handle.seek(place)


def _scans(data: bytes) -> int:
    """How many scans a JPEG has up to its end, walking from marker to marker as its decoder does."""
    count = place = 0
    while (found := _MARKER.search(data, place)) is not None and found[1][0] != 0xD9:
        count += found[1][0] == 0xDA
        place = found.end()
        if found[1][0] not in (0x01, 0xD8):  # all others have a length; what follows that of a scan holds no markers
            place += max(2, int.from_bytes(data[place : place + 2], "big"))
    return count
