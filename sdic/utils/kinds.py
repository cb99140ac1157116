"""What a file is: a picture that sdic reads, a picture or video that it does not, or something else.

One rule for `invert`, `edit`, `train`, `pretrain` and `evaluate`, see `sdic.utils.images.what_is`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from PIL import Image

FORMATS = (
    *("JPEG", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM", "MPO", "PCX", "SGI", "ICO"),
    "HEIF",
)
"""What is read, HEIF (HEIC) where pi-heif is installed. EPS and PDF are not pictures but programs, and formats without
a signature accept any file."""

WEAK = frozenset(("BMP", "DIB", "PPM", "PCX", "SGI", "ICO"))
"""Formats whose signature is one or two common bytes: a note that begins with "BM" is no picture."""

_PHOTO = "jpg jpeg jpe jfif mpo png webp avif tif tiff bmp dib gif jp2 j2k ppm pgm pbm pnm pfm pcx sgi ico"
_HEIF = frozenset((".heic", ".heif", ".hif"))
SUFFIXES = frozenset("." + name for name in _PHOTO.split())
"""How names of pictures end that sdic reads."""

HEAD = 64
"""So many first bytes of a file tell what it is."""

RAW = "RAW"
_CONVERT = "a picture that sdic does not read; convert it to JPEG or PNG"
_FRAMES = "a video, which `sdic edit` takes with PyAV (pip install av); or save its frames as pictures"

_PICTURES = {
    "JPEG XL": "jxl",
    "Photoshop": "psd psb",
    "GIMP": "xcf",
    "OpenEXR": "exr",
    "Radiance HDR": "hdr",
    "Targa": "tga",
    "DirectDraw": "dds",
    "SVG": "svg svgz",
    "EPS": "eps",
    "QOI": "qoi",
    "JPEG 2000 or HTJ2K": "jpx jpf j2c jpc jph",
    "JPEG XR": "jxr wdp hdp",
}
_RAW = "dng cr2 cr3 crw nef nrw arw sr2 srf orf rw2 raf pef srw x3f 3fr erf kdc dcr mrw iiq rwl mef mos gpr"
_VIDEOS = "mp4 m4v mov qt 3gp 3g2 mkv webm avi wmv asf flv mpg mpeg m2v mts m2ts vob ogv mjpeg mjpg"

UNREAD: dict[str, str] = {
    **{f".{end}": f"{what}: {_CONVERT}" for what, ends in _PICTURES.items() for end in ends.split()},
    **dict.fromkeys(_HEIF, "HEIC: a picture that sdic reads with pi-heif (pip install pi-heif); or convert it"),
    **{f".{end}": f"{RAW} ({end.upper()}): {_CONVERT}" for end in _RAW.split()},
    **{f".{end}": f"{end.upper()}: {_FRAMES}" for end in _VIDEOS.split()},
}
"""How names of other pictures and of videos end -> what to say of them."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", ".jxl"),
    (0, b"8BPS\0", ".psd"),
    (0, b"gimp xcf", ".xcf"),
    (0, b"\x76\x2f\x31\x01", ".exr"),
    (0, b"#?RADIANCE", ".hdr"),
    (0, b"DDS \x7c\0\0\0", ".dds"),
    (0, b"qoif", ".qoi"),
    (0, b"IIRO", ".orf"),
    (0, b"IIU\0", ".rw2"),
    (0, b"FUJIFILMCCD-RAW", ".raf"),
    (0, b"FOVb", ".x3f"),
    (8, b"CR\x02\0", ".cr2"),
    (0, b"II\xbc\x01", ".jxr"),
    (0, b"\x1a\x45\xdf\xa3", ".mkv"),
    (8, b"AVI LIST", ".avi"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", ".wmv"),
    (0, b"FLV\x01", ".flv"),
    (0, b"\0\0\x01\xba", ".mpg"),
    (0, b"\0\0\x01\xb3", ".mpg"),
    (4, b"moov", ".mov"),
    (4, b"mdat", ".mov"),
)
_BRANDS = {
    b"heic": ".heic", b"heix": ".heic", b"heim": ".heic", b"heis": ".heic", b"hevc": ".heic", b"hevx": ".heic",
    b"mif1": ".heic", b"msf1": ".heic", b"crx ": ".cr3", b"qt  ": ".mov", b"isom": ".mp4", b"iso2": ".mp4",
    b"iso4": ".mp4", b"iso5": ".mp4", b"iso6": ".mp4", b"mp41": ".mp4", b"mp42": ".mp4", b"avc1": ".mp4",
    b"M4V ": ".m4v", b"MSNV": ".mp4", b"dash": ".mp4", b"3gp4": ".3gp", b"3gp5": ".3gp", b"3gp6": ".3gp",
}  # fmt: skip
"""What stands behind `ftyp` in files of the MP4 family."""


@dataclass(frozen=True)
class Kind:
    """picture: to be read as a photo. unread: it is a picture or a video of a kind that sdic does not read; what it is
    and what to do. Neither: some other file, such as a list, landmarks, a licence."""

    picture: bool = False
    unread: str = ""

    @property
    def video(self) -> bool:
        """Whether it is a video; those are not read as photos."""
        return self.unread.endswith(_FRAMES)


@functools.lru_cache(maxsize=1)
def reads_heif() -> bool:
    """Whether HEIC files are read: pi-heif is installed, and known to Pillow from now on."""
    try:
        import pi_heif
    except ImportError:
        return False
    pi_heif.register_heif_opener(thumbnails=False)
    return True


def by_name(suffix: str) -> Kind:
    """What the ending of a name (lower case, with its dot) says; nothing for the endings of other files."""
    if suffix in SUFFIXES or (suffix in _HEIF and reads_heif()):
        return Kind(picture=True)
    return Kind(unread=UNREAD.get(suffix, ""))


def recognised(head: bytes) -> list[str]:
    """The formats whose signature a file of these first bytes has. Never raises."""
    Image.init()
    reads_heif()
    return [name for name in FORMATS if name in Image.OPEN and _accepts(name, head[:16])]


def unread_content(head: bytes) -> str:
    """What to say of a picture or video that sdic does not read, by its first bytes; else an empty string."""
    if head[4:8] == b"ftyp" and head[8:12] in _BRANDS:
        return by_name(_BRANDS[head[8:12]]).unread
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF: a picture that this Pillow was built without; convert it to JPEG or PNG"
    return next((UNREAD[end] for at, mark, end in _SIGNATURES if head[at : at + len(mark)] == mark), "")


def _accepts(name: str, head: bytes) -> bool:
    accept = Image.OPEN[name][1]  # a format that is missing from this Pillow answers with a text
    try:
        return accept is not None and accept(head) is True
    except Exception:  # some recognisers trip over files of a few bytes
        return False
