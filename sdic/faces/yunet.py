"""Faces by YuNet, through OpenCV where that is installed: coarser than MediaPipe's networks, and for upright faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from sdic.errors import SdicError
from sdic.faces.points import Face
from sdic.utils.text import one_line

SIDE = 640  # px of the longer side at which it looks; at 320 its points are half as exact
SURE = 0.6
_POINTS = slice(
    4, 14
)  # of a row: the right eye of the person (left in the picture), left eye, nose, corners of the mouth


class YuNetFaces:
    """Finds faces in photos. path: `face_detection_yunet_2023mar.onnx`."""

    def __init__(self, path: Path):
        try:
            import cv2
        except ImportError as error:
            raise SdicError(
                "YuNet needs OpenCV: pip install opencv-python-headless, or `sdic download faces`"
            ) from error
        try:
            self._detector = cv2.FaceDetectorYN.create(str(path), "", (SIDE, SIDE), SURE)
        except cv2.error as error:
            raise SdicError(f"{path}: OpenCV cannot read it ({one_line(error)})") from error

    def find(self, photo: Image.Image, every: bool = False) -> list[Face]:
        """The faces of an upright RGB photo, the widest first; `every` looks at 1280 px."""
        scale = min(1.0, (2 * SIDE if every else SIDE) / max(photo.size))
        size = max(1, round(photo.width * scale)), max(1, round(photo.height * scale))
        small = photo.resize(size, Image.Resampling.BOX)
        self._detector.setInputSize(size)
        _, rows = self._detector.detect(np.ascontiguousarray(np.asarray(small)[:, :, ::-1]))
        faces = []
        for row in [] if rows is None else np.asarray(rows, dtype=np.float64):
            points = (row[_POINTS].reshape(5, 2) + 0.5) * np.array(photo.size) / size - 0.5
            faces.append(Face(points[[0, 1, 3, 4]], float(row[14]), "yunet"))
        return sorted(faces, key=lambda face: -face.width)
