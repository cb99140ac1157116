"""The points of a face, and landmarks that people bring in files.

A point is (x, y) in pixels of the upright photo, (0, 0) at the centre of its first pixel, as dlib counts. "Left" and
"right" are those of the picture.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdic.errors import ImageError
from sdic.utils.text import one_line, read_small_text

Array = NDArray[np.float64]
FILE_LIMIT = 64 << 20  # bytes of a landmark file: a line of 1 kB for each of 64,000 photos
FORMS = "5 points (left eye, right eye, nose, left and right corner of the mouth) or 68 in dlib's order"


@dataclass(frozen=True)
class Face:
    """One face in a photo.

    points: [4, 2], the left eye's centre, the right one's, the left corner of the mouth, the right one.
    score: 0 to 1, how sure the detector is. source: "mediapipe", "yunet", or the landmark file's name.
    """

    points: Array
    score: float = 1.0
    source: str = ""

    def __post_init__(self) -> None:
        points = np.array(self.points, dtype=np.float64)
        if points.shape != (4, 2) or not np.isfinite(points).all():
            raise ImageError(f"a face is four points (x, y), got {one_line(self.points)}")
        points.setflags(write=False)
        object.__setattr__(self, "points", points)

    @property
    def width(self) -> float:
        """Pixels between the eyes, or half as much again as eyes and mouth are apart: what grows with the face."""
        left, right, *mouth = self.points
        return float(max(math.dist(left, right), 0.9 * math.dist((left + right) / 2, np.mean(mouth, axis=0))))

    @property
    def roll(self) -> float:
        """Degrees by which the line of the eyes is turned; positive is clockwise in the picture."""
        across = self.points[1] - self.points[0]
        return math.degrees(math.atan2(across[1], across[0]))


def face_of_landmarks(landmarks: Sequence[Any] | Array, source: str = "") -> Face:
    """A face from 5 or 68 points [(x, y), ...]; dlib's 5 corners of eyes and nose have no mouth and are no such 5.

    ImageError for another number of points, for values that are not finite, and for eyes or mouth of one point.
    """
    try:
        points = np.array(landmarks, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ImageError(f"landmarks are pairs of numbers, got {one_line(landmarks, 80)}") from error
    if points.ndim == 1 and points.size in (10, 136):
        points = points.reshape(-1, 2)
    if points.shape == (68, 2):
        # Eyes are the means of their six points; the recipe takes the corners of the outer lips.
        chosen = np.stack([points[36:42].mean(0), points[42:48].mean(0), points[48], points[54]])
    elif points.shape == (5, 2):
        chosen = points[[0, 1, 3, 4]]
    else:
        raise ImageError(f"landmarks are {FORMS}, got {list(points.shape)}")
    face = Face(chosen, source=source)
    if not 0.5 <= face.width < 1e6 or np.abs(chosen).max() > 1e6:
        raise ImageError("landmarks whose eyes and mouth are one point, or further away than any photo is large")
    return face


def read_landmarks(path: str | os.PathLike[str]) -> dict[str, list[Face]]:
    """Landmarks of many photos: name of the photo -> its faces, in the file's order. ImageError for any other file.

    JSON: {name: points} or {name: [points, points, ...]}, points as [[x, y], ...] of 5 or 68.
    CSV: a line for each face: name, x1, y1, x2, y2, ...; lines that begin with # and a head line are left out.
    Names are as the photos' relative to their folder, with or without ending; `faces_for` looks them up.
    """
    path = Path(path)
    text = read_small_text(path, FILE_LIMIT, ImageError)
    if path.suffix.lower() not in (".json", ".csv"):
        raise ImageError(f"{path}: landmarks are a .json or a .csv file")
    rows = _json_rows(text, path) if path.suffix.lower() == ".json" else _csv_rows(text, path)
    found: dict[str, list[Face]] = {}
    for place, name, points in rows:
        try:
            found.setdefault(name, []).append(face_of_landmarks(points, path.name))
        except ImageError as error:
            raise ImageError(f"{path}, {place}: {error}") from error
    if not found:
        raise ImageError(f"{path}: no landmarks in it; they are {FORMS}")
    return found


def faces_for(landmarks: Mapping[str, list[Face]], name: str) -> list[Face]:
    """The faces of a photo by its name: as it is, with fewer of its folders, each without ending too. Empty where the
    file has none."""
    parts = Path(name).parts
    for first in range(len(parts)):
        path = PurePosixPath(*parts[first:])
        for form in (str(path), str(path.with_suffix(""))):
            if form in landmarks:
                return landmarks[form]
    return []


def _json_rows(text: str, path: Path) -> list[tuple[str, str, Any]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{path}: no JSON ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise ImageError(f"{path}: landmarks in JSON are {{name of the photo: points}}")
    rows: list[tuple[str, str, Any]] = []
    for name, value in content.items():
        many = isinstance(value, list) and bool(value) and isinstance(value[0], list)
        several = many and bool(value[0]) and isinstance(value[0][0], list)
        rows += [(f"{one_line(name, 80)!r}", name, points) for points in (value if several else [value])]
    return rows


def _csv_rows(text: str, path: Path) -> list[tuple[str, str, Any]]:
    rows: list[tuple[str, str, Any]] = []
    try:
        for number, cells in enumerate(csv.reader(io.StringIO(text)), 1):
            if not cells or cells[0].lstrip().startswith("#"):
                continue
            numbers = [cell for cell in cells[1:] if cell.strip()]
            try:
                values = [float(cell) for cell in numbers]
            except ValueError:
                if not rows:  # the head line
                    continue
                raise ImageError(f"{path}, line {number}: a name and numbers are expected") from None
            rows.append((f"line {number}", cells[0].strip(), values))
    except csv.Error as error:
        raise ImageError(f"{path}: no CSV ({one_line(error)})") from error
    return rows
