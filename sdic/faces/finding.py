"""From a raw photo to the crops of its faces: who finds them, which are meant, and whether it is a crop already."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from PIL import Image

from sdic import zoo
from sdic.checkpoints import read_bundle
from sdic.errors import CheckpointError, ConfigError, ImageError, did_you_mean
from sdic.faces.alignment import FaceCrop, align, ffhq_quad, is_aligned
from sdic.faces.points import Face, faces_for, read_landmarks
from sdic.utils.colour import NOTE
from sdic.utils.files import sha256_of

MODES = ("auto", "always", "never")
DETECTORS = ("auto", "mediapipe", "yunet")
SMALLEST = 40
"""Pixels of a crop's side; the eyes of a smaller face are less than ten pixels apart and not to be placed."""
OTHER_WAYS = (
    "--landmarks FILE.csv gives the eyes and the corners of the mouth; --align never takes the photo as it is, cropped "
    "by yourself as FFHQ's are"
)
NO_DETECTOR = f"three ways on: `sdic download faces` fetches the detector (once, 7 MB); {OTHER_WAYS}"
NO_FACE = f"three ways on: cut out the part with the face, if it is small; {OTHER_WAYS}"


class Finder(Protocol):
    """What finds faces."""

    def find(self, photo: Image.Image, every: bool = False) -> list[Face]:
        """The faces of an upright RGB photo, the widest first; with `every`, far ones too."""


@dataclass(frozen=True)
class Aligned:
    """picture: what the model is to look at, RGB. crop: where it lies in the photo; None where it is the photo itself.
    notes: what the photo's owner should know."""

    picture: Image.Image
    crop: FaceCrop | None = None
    notes: list[str] = field(default_factory=list)


def open_finder(detector: str = "auto", device: str = "cpu") -> Finder:
    """The detector: MediaPipe's networks, or YuNet through OpenCV; "auto" is the first of them whose file is here.

    CheckpointError with the ways on where there is none; ConfigError for an unknown name.
    """
    if detector not in DETECTORS:
        raise ConfigError(f"detector {detector!r}{did_you_mean(detector, DETECTORS)}; known: {', '.join(DETECTORS)}")
    if detector == "yunet" or (detector == "auto" and _file("faces") is None and _file("yunet") is not None):
        from sdic.faces.yunet import YuNetFaces

        return YuNetFaces(zoo.require_file(zoo.card("yunet").files[0], "yunet"))
    path = _file("faces")
    if path is None:
        raise CheckpointError(f"no face detector is here; {NO_DETECTOR}")
    from sdic.faces.mediapipe import MediaPipeFaces

    wanted = zoo.card("faces").files[0]
    return MediaPipeFaces(read_bundle(path, zoo.known_sha256(wanted, path)), device)


def find_and_align(
    photo: Image.Image,
    size: int = 1024,
    *,
    mode: str = "auto",
    face: str = "largest",
    finder: Finder | None = None,
    landmarks: Sequence[Face] | None = None,
) -> list[Aligned]:
    """An upright RGB photo -> what a model for faces is to look at: one entry for each face that is meant.

    mode: "auto" leaves a photo as it is that is a crop as FFHQ has them, "always" crops it too, "never" leaves all.
    face: "largest", "all", or the N-th from the left, counted from 1. landmarks: the faces, where they are known.
    finder: None where no detector is here; "auto" then leaves square photos as they are and says so.
    ImageError says what is wrong with the photo and what to do.
    """
    if mode not in MODES:
        raise ConfigError(f"align {mode!r}{did_you_mean(mode, MODES)}; known: {', '.join(MODES)}")
    check_choice(face)
    if mode == "never":
        return [Aligned(photo)]
    square = abs(photo.width - photo.height) <= 1
    if landmarks is None and finder is None:
        if mode == "auto" and square:
            return [Aligned(photo, notes=["no face detector is here; the square photo is taken as aligned"])]
        raise ImageError(f"it is to be aligned, but no face detector is here; {NO_DETECTOR}")
    faces = list(landmarks) if landmarks is not None else finder.find(photo, face != "largest")  # type: ignore[union-attr]
    if not faces:
        if mode == "auto" and square:
            return [Aligned(photo, notes=["no face was found; the square photo is taken as aligned"])]
        raise ImageError(f"no face was found; {NO_FACE}")
    if mode == "auto" and landmarks is None and is_aligned(photo.size, faces[0]):
        return [Aligned(photo)]
    return [_aligned(photo, one, size) for one in chosen(faces, face)]


@dataclass(frozen=True)
class AlignSettings:
    """How raw photos become what a model for faces looks at; see `find_and_align`.

    align: auto, always or never. face: largest, all, or a number from 1. landmarks: a .csv or .json file, or nothing.
    detector: auto, mediapipe or yunet.
    """

    align: str = "auto"
    face: str = "largest"
    landmarks: str = ""
    detector: str = "auto"


def check_settings(settings: AlignSettings) -> None:
    """ConfigError for settings that make no sense."""
    check_choice(settings.face)
    for name, value, known in (("align", settings.align, MODES), ("detector", settings.detector, DETECTORS)):
        if value not in known:
            raise ConfigError(f"{name} {value!r}{did_you_mean(value, known)}; known: {', '.join(known)}")


class Aligner:
    """`find_and_align` by settings, for many photos; what finds faces is opened once, when it is first wanted."""

    def __init__(self, settings: AlignSettings, device: str = "cpu"):
        """ConfigError or ImageError for settings that make no sense, and for a landmark file that cannot be read."""
        check_settings(settings)
        self.settings, self.device = settings, device
        self.landmarks = read_landmarks(settings.landmarks) if settings.landmarks else {}
        self._finder: Finder | None = None

    def identity(self) -> dict[str, str]:
        """What its answers depend on besides the photo."""
        found = {name: str(value) for name, value in asdict(self.settings).items()}
        if self.settings.landmarks:
            return {**found, "landmarks": sha256_of(self.settings.landmarks), "detector": ""}
        here = [name for name in ("faces", "yunet") if _file(name) is not None]
        return {
            **found,
            "detector": (here[:1] or ["none"])[0] if self.settings.detector == "auto" else found["detector"],
        }

    @property
    def blind(self) -> bool:
        """Whether it has neither landmarks nor what finds faces."""
        known = self.settings.landmarks or self.settings.align == "never" or self.settings.detector != "auto"
        return not known and not has_finder()

    def faces(self, photo: Image.Image) -> list[Face]:
        """The faces of an upright RGB photo, the widest first; CheckpointError where no detector is here."""
        return self.open().find(photo, self.settings.face != "largest")

    def open(self) -> Finder:
        """What finds faces; CheckpointError with the ways on where none is here."""
        return self._opened() or open_finder(self.settings.detector, self.device)

    def __call__(self, photo: Image.Image, name: str, size: int) -> list[Aligned]:
        """An upright RGB photo and its name (for the landmark file) -> what the model is to look at."""
        known = faces_for(self.landmarks, name) or None
        if self.settings.landmarks and known is None and self.settings.align != "never":
            raise ImageError(f"{self.settings.landmarks} has no landmarks of it; {OTHER_WAYS}")
        finder = None if known or self.settings.align == "never" else self._opened()
        return find_and_align(
            photo, size, mode=self.settings.align, face=self.settings.face, finder=finder, landmarks=known
        )

    def _opened(self) -> Finder | None:
        """What finds faces; None where the default is not here, which only some photos need."""
        if self._finder is None and (self.settings.detector != "auto" or has_finder()):
            self._finder = open_finder(self.settings.detector, self.device)
        return self._finder


def has_finder() -> bool:
    """Whether the files of a detector are here."""
    return any(_file(name) is not None for name in ("faces", "yunet"))


def chosen(faces: Sequence[Face], face: str) -> list[Face]:
    """The faces that are meant, from left to right. ImageError where there are not so many."""
    in_order = sorted(faces, key=lambda one: float(one.points[:, 0].mean()))
    if face == "all":
        return in_order
    if face == "largest":
        return [max(faces, key=lambda one: one.width)]
    if int(face) > len(faces):
        raise ImageError(f"face {face} is meant, but {len(faces)} are there (counted from the left, from 1)")
    return [in_order[int(face) - 1]]


def check_choice(face: str) -> None:
    """ConfigError for anything but "largest", "all" or a number from 1."""
    if face not in ("largest", "all") and not (face.isascii() and face.isdigit() and 0 < int(face[:9]) < 10_000):
        raise ConfigError(f"face {face!r}: largest, all, or a number from 1 (counted from the left)")


def _aligned(photo: Image.Image, face: Face, size: int) -> Aligned:
    side = math.dist(*ffhq_quad(face)[[0, 3]])
    if side < SMALLEST:
        raise ImageError(
            f"the face is too small: its crop has {side:.0f} px a side; to place the eyes takes at least {SMALLEST}"
        )
    picture, crop = align(photo, face, size)
    notes = [] if side >= size / 2 else [f"the face's crop has {side:.0f} px a side; enlarged to {size}"]
    notes += [photo.info[NOTE]] if NOTE in photo.info else []
    return Aligned(picture, crop, notes)


def _file(name: str) -> Path | None:
    return zoo.find_file(zoo.card(name).files[0])
