"""Small whole pictures of every kind, and files that are small and would cost much."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from tests import icc


def pictures() -> dict[str, bytes]:
    """name -> a whole picture file of a few kB."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    colour = Image.fromarray(pixels).resize((48, 36), Image.Resampling.BICUBIC)
    grey = colour.convert("L")
    alpha = colour.convert("RGBA")
    alpha.putalpha(grey)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    p3, cmyk = icc.matrix_profile("p3"), icc.cmyk_profile()
    frames = {"save_all": True, "append_images": [colour.rotate(90)]}
    made: dict[str, tuple[Image.Image, str, dict[str, object]]] = {
        "plain.png": (colour, "PNG", {"icc_profile": p3}),
        "palette.png": (colour.quantize(32), "PNG", {"transparency": 3}),
        "alpha.png": (alpha, "PNG", {"exif": exif}),
        "deep.png": (deep, "PNG", {}),
        "bits.png": (grey.convert("1"), "PNG", {}),
        "animated.png": (colour, "PNG", frames),
        "plain.jpg": (colour, "JPEG", {"exif": exif, "icc_profile": p3}),
        "progressive.jpg": (colour, "JPEG", {"progressive": True, "quality": 90}),
        "cmyk.jpg": (colour.convert("CMYK"), "JPEG", {"icc_profile": cmyk}),
        "plain.webp": (colour, "WEBP", {"exif": exif, "icc_profile": p3}),
        "lossless.webp": (alpha, "WEBP", {"lossless": True}),
        "animated.webp": (colour, "WEBP", frames),
        "plain.tif": (colour, "TIFF", {"icc_profile": p3}),
        "deflate.tif": (alpha, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "lzw.tif": (deep, "TIFF", {"compression": "tiff_lzw"}),
        "float.tif": (grey.convert("F"), "TIFF", {}),
        "jpeg.tif": (colour, "TIFF", {"compression": "jpeg"}),
        "plain.gif": (colour.quantize(64), "GIF", {"comment": b"a comment"}),
        "animated.gif": (colour.quantize(64), "GIF", {"save_all": True, "append_images": [grey]}),
        "plain.bmp": (colour, "BMP", {}),
        "palette.bmp": (colour.quantize(32), "BMP", {}),
        "plain.ico": (alpha, "ICO", {"sizes": [(16, 16), (32, 32)]}),
        "bitmap.ico": (alpha, "ICO", {"sizes": [(16, 16)], "bitmap_format": "bmp"}),
        "plain.ppm": (colour, "PPM", {}),
        "deep.pgm": (deep, "PPM", {}),
        "float.pfm": (grey.convert("F"), "PPM", {}),
        "plain.jp2": (colour, "JPEG2000", {}),
        "plain.pcx": (colour, "PCX", {}),
        "plain.sgi": (colour, "SGI", {}),
    }
    Image.init()  # otherwise Pillow knows only the formats that were met before
    if "AVIF" in Image.SAVE:
        made["plain.avif"] = (colour, "AVIF", {})
    found = {}
    for name, (picture, kind, options) in made.items():
        blob = io.BytesIO()
        picture.save(blob, kind, **options)
        found[name] = blob.getvalue()
    rows = " ".join(str(value) for value in np.asarray(grey).flatten())
    found["text.pgm"] = f"P2\n# a comment\n{grey.width} {grey.height}\n255\n{rows}\n".encode()
    found["odd.ppm"] = f"P6 {colour.width} {colour.height} 200\n".encode() + bytes(3 * colour.width * colour.height)
    found["runs.bmp"] = _run_length_bmp()
    return found


def _run_length_bmp() -> bytes:
    runs = b"".join(bytes([8, value, 8, 255 - value, 0, 0]) for value in range(16)) + b"\0\1"
    palette = b"".join(bytes([value, value, value, 0]) for value in range(256))
    head = struct.pack("<IiiHHIIiiII", 40, 16, 16, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(runs), 0, 0, 54 + 1024) + head + palette + runs


def scan_bomb(side: int, times: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    blob = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 40)).save(blob, "JPEG", progressive=True)
    data = blob.getvalue()
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * times + data[-2:]


def png(width: int, height: int, *, chunks: bytes = b"", depth: int = 1) -> bytes:
    """A black grey PNG, its pixels packed as small as can be; chunks stand before the pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + (width * depth + 7) // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunks + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def chunk(kind: bytes, data: bytes) -> bytes:
    """One piece of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def icon(inner: bytes) -> bytes:
    """An icon that says 16x16 and holds another picture."""
    return struct.pack("<HHH", 0, 1, 1) + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(inner), 22) + inner


def bombs() -> dict[str, tuple[bytes, str]]:
    """name -> (a small file, what its refusal says)."""
    gif = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0, 0, 0)
    jpeg = scan_bomb(16, 1)
    return {
        "scans.jpg": (scan_bomb(256, 1000), "1009 scans|scans of 256x256"),
        "segments.jpg": (jpeg[:2] + b"\xff\xfe\0\2" * 50_000 + jpeg[2:], "more work"),
        "fill.jpg": (jpeg[:2] + b"\xff" * 100_000 + jpeg[2:], "more work"),
        "icon.ico": (icon(png(20_000, 20_000)), "20000x20000 is more than"),
        "chunks.png": (png(8, 8, chunks=chunk(b"abCd", b"") * 50_000), "more work"),
        "pieces.png": (png(8, 8).replace(b"\0\0\0\0IEND", chunk(b"IDAT", b"") * 50_000 + b"\0\0\0\0IEND"), "more work"),
        "comments.gif": (gif + (b"\x21\xfe" + (b"\xff" + bytes(255)) * 20_000 + b"\0") + b";", "more work"),
        "comments.pgm": (b"P2 8 8 255\n" + b"#\n" * 100_000 + b"1 " * 64, "comments"),
        "tile.tif": (_huge_tile(), "is more than"),
        "tags.tif": (_repeated_tags(), "more work"),
    }


def _huge_tile() -> bytes:
    tags = [(256, 4, 8), (257, 4, 8), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1), (322, 4, 40_000)]
    return _tiff([*tags, (323, 4, 40_000), (324, 4, 8), (325, 4, 100)])


def _tiff(tags: list[tuple[int, int, int]]) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(1000)


def _repeated_tags() -> bytes:
    """Thousands of tags that all mean the same megabyte."""
    count, size = 4_000, 1 << 20
    entries = b"".join(struct.pack("<HHII", 40_000 + index, 7, size, 8) for index in range(count))
    return b"II*\0" + struct.pack("<I", 8 + size) + bytes(size) + struct.pack("<H", count) + entries + bytes(4)
