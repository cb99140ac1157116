"""Which faces are meant, what is left as it is, what is refused and with which ways on."""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdic import zoo
from sdic.errors import CheckpointError, ConfigError, ImageError, SdicError
from sdic.faces.finding import find_and_align, open_finder
from sdic.faces.points import Face
from tests.faces.test_alignment import face_at, photo_of

WAYS = r"three ways on.*--landmarks.*--align never"


class Known:
    """A finder that knows the faces."""

    def __init__(self, *faces: Face):
        self.faces, self.asked = list(faces), [False]

    def find(self, photo: Image.Image, every: bool = False) -> list[Face]:
        self.asked.append(every)
        return sorted(self.faces, key=lambda face: -face.width)


TWO = Known(face_at(80, 100, 90), face_at(220, 110, 110, 12))


def centres(photo: Image.Image, **options: object) -> list[float]:
    found = find_and_align(photo, 64, **options)  # type: ignore[arg-type]
    return [float(np.mean([corner[0] for corner in one.crop.quad])) for one in found if one.crop is not None]


def test_largest_nth_or_all() -> None:
    photo = photo_of(300, 200)
    assert centres(photo, finder=TWO) == pytest.approx([220], abs=4)
    assert not TWO.asked[-1]
    assert centres(photo, finder=TWO, face="1") == pytest.approx([80], abs=4)
    assert TWO.asked[-1]  # far ones count too
    assert centres(photo, finder=TWO, face="all") == pytest.approx([80, 220], abs=4)
    with pytest.raises(ImageError, match="face 3 is meant, but 2 are there"):
        find_and_align(photo, finder=TWO, face="3")
    for word in ("0", "-1", "big", "²", "1.5", ""):
        with pytest.raises(ConfigError, match="largest, all, or a number"):
            find_and_align(photo, finder=TWO, face=word)
    with pytest.raises(ConfigError, match="did you mean 'always'"):
        find_and_align(photo, finder=TWO, mode="allways")


def test_aligned_photos_are_left_as_they_are() -> None:
    photo, known = photo_of(256, 256), Known(face_at(128, 128, 256))
    [found] = find_and_align(photo, 64, finder=known)
    assert found.picture is photo
    assert found.crop is None
    [again] = find_and_align(photo, 64, finder=known, mode="always")
    assert again.crop is not None
    assert again.picture.size == (64, 64)
    [never] = find_and_align(photo_of(300, 200), finder=TWO, mode="never")
    assert (never.crop, never.picture.size) == (None, (300, 200))
    assert find_and_align(photo, 64, landmarks=known.faces)[0].crop is not None  # landmarks are an order


def test_no_face_and_no_detector_say_the_ways_on() -> None:
    for options in ({"finder": Known()}, {"finder": None}):
        with pytest.raises(ImageError, match=WAYS):
            find_and_align(photo_of(300, 200), **options)  # type: ignore[arg-type]
        with pytest.raises(ImageError, match=WAYS):
            find_and_align(photo_of(200, 200), mode="always", **options)  # type: ignore[arg-type]
        [square] = find_and_align(photo_of(200, 200), **options)  # type: ignore[arg-type]
        assert square.crop is None
        assert "taken as aligned" in square.notes[0]


def test_small_faces() -> None:
    photo = photo_of(400, 300)
    with pytest.raises(ImageError, match=r"too small: its crop has 24 px a side; to place the eyes takes at least 40"):
        find_and_align(photo, 64, finder=Known(face_at(200, 150, 24)))
    [found] = find_and_align(photo, 256, finder=Known(face_at(200, 150, 60)))
    assert "enlarged to 256" in found.notes[0]


def test_without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "search_folders", lambda: [tmp_path])
    with pytest.raises(CheckpointError, match=WAYS):
        open_finder()
    with pytest.raises(CheckpointError, match="sdic download yunet"):
        open_finder("yunet")
    with pytest.raises(ConfigError, match="did you mean 'mediapipe'"):
        open_finder("mediapip")


def test_yunet_through_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV's answer in its own order (person's right eye first) and in the pixels of the reduced picture."""
    monkeypatch.setattr(zoo, "search_folders", lambda: [tmp_path])
    (tmp_path / "face_detection_yunet_2023mar.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(SdicError, match="pip install opencv-python-headless"):
        open_finder("auto")

    class Detector:
        def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
            self.size = size

        def detect(self, picture: np.ndarray) -> tuple[int, np.ndarray]:
            assert picture.shape == (self.size[1], self.size[0], 3)
            points = [*(99.5, 79.5), *(199.5, 79.5), *(149.5, 119.5), *(109.5, 159.5), *(189.5, 159.5)]
            return 1, np.array([[50, 50, 200, 200, *points, 0.9]], np.float32)

    cv2 = types.SimpleNamespace(error=ValueError, FaceDetectorYN=types.SimpleNamespace(create=lambda *_: Detector()))
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    [face] = open_finder("auto").find(Image.new("RGB", (1280, 960)))
    np.testing.assert_allclose(face.points, np.array([[200, 160], [400, 160], [220, 320], [380, 320]]) - 0.5)


def test_squares_are_cut_where_the_record_says() -> None:
    """A disc of the photo lies in a turned square where `to_photo` says, also where it is reduced first."""
    from sdic.faces.mediapipe import _Square

    y, x = np.mgrid[:400, :500] + 0.5
    photo = Image.fromarray((np.exp(-((x - 260) ** 2 + (y - 180) ** 2) / 400) * 255).astype(np.uint8)).convert("RGB")
    for side, angle in ((150.0, 0.0), (300.0, 0.7), (640.0, math.pi / 2), (700.0, -2.0)):
        square = _Square(250, 200, side, angle)
        pixels = np.asarray(square.picture(photo, 64).convert("L"), float)
        v, u = np.mgrid[:64, :64] + 0.5
        centre = np.array([[(pixels * u).sum(), (pixels * v).sum()]]) / pixels.sum()
        np.testing.assert_allclose(square.to_photo(centre, 64)[0], [260, 180], atol=side / 64 * 0.25)
