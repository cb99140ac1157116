"""Faces by MediaPipe's networks: BlazeFace finds them, FaceMesh lays 468 points on each, Iris finds the pupils."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from sdic.checkpoints import Bundle
from sdic.faces.points import Array, Face
from sdic.networks.mediapipe import ANCHORS, DETECTOR_SIZE, IRIS_SIZE, MESH_SIZE

SURE = 0.5  # probability of BlazeFace and of FaceMesh's presence
OVERLAP = 0.3  # intersection over union from which two boxes are one face
MESH_MARGIN, IRIS_MARGIN = 1.5, 2.3  # side of the crop, as a multiple of the mesh's extent or the eye's width
MOST = 64  # candidates that are looked at, the surest first
EYES = ((33, 133), (362, 263))  # points of the mesh: corners of the left and right eye in the picture
MOUTH = (61, 291)


@dataclass(frozen=True)
class _Square:
    """A turned square of a photo: its centre, side and angle (radians)."""

    x: float
    y: float
    side: float
    angle: float = 0.0

    def picture(self, photo: Image.Image, size: int) -> Image.Image:
        """What lies in it, at `size` px, black outside the photo."""
        reach = 0.75 * self.side + 2
        box = (self.x - reach, self.y - reach, self.x + reach, self.y + reach)
        left, top = max(0, math.floor(box[0])), max(0, math.floor(box[1]))
        right, bottom = min(photo.width, math.ceil(box[2])), min(photo.height, math.ceil(box[3]))
        if left >= right or top >= bottom:
            return Image.new("RGB", (size, size))
        step = max(1, int(self.side / size / 1.25))  # averaged down first: an affine transform reads single pixels
        part = photo.reduce(step, (left, top, right, bottom)) if step > 1 else photo.crop((left, top, right, bottom))
        scale = self.side / size
        (a, b, x), (c, d, y) = self._matrix(scale)
        coefficients = (a / step, b / step, (x - left) / step, c / step, d / step, (y - top) / step)
        return part.transform((size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)

    def to_photo(self, points: Array, size: int) -> Array:
        """[N, 2] in pixels of `picture` -> in pixels of the photo, both from the outer corner."""
        matrix = np.array(self._matrix(self.side / size))
        return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])

    def _matrix(self, scale: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        cos, sin, half = math.cos(self.angle), math.sin(self.angle), self.side / 2
        return (
            (cos * scale, -sin * scale, self.x - (cos - sin) * half),
            (sin * scale, cos * scale, self.y - (sin + cos) * half),
        )


class MediaPipeFaces:
    """Finds faces in photos. The networks are those of a bundle with the roles blazeface, facemesh and iris."""

    def __init__(self, bundle: Bundle, device: str | torch.device = "cpu"):
        def need(role: str) -> nn.Module:
            return bundle.require(role, "finding faces").to(device)

        self.blazeface, self.facemesh, self.iris = need("blazeface"), need("facemesh"), need("iris")
        self.device = torch.device(device)
        grids = [(n, count, y, x) for n, count in ANCHORS for y in range(n) for x in range(n)]
        cells = [((x + 0.5) / n, (y + 0.5) / n) for n, count, y, x in grids for _ in range(count)]
        self._anchors = np.array(cells) * DETECTOR_SIZE

    @torch.inference_mode()
    def find(self, photo: Image.Image, every: bool = False) -> list[Face]:
        """The faces of an upright RGB photo, the widest first.

        Far faces are looked for in overlapping tiles (2x2, then 4x4) where the photo as a whole shows none; with
        `every`, in 2x2 tiles in any case.
        """
        faces = self._meshes(photo, self._candidates(photo, 1))
        for tiles in (2, 4):
            if not faces or (every and tiles == 2):
                faces = self._meshes(photo, self._candidates(photo, tiles), faces)
        return sorted(faces, key=lambda face: -face.width)

    def _candidates(self, photo: Image.Image, tiles: int) -> list[tuple[float, _Square, Array]]:
        """(probability, square around the face, box as left, top, right, bottom) of what BlazeFace takes for faces."""
        found = []
        for x, y, width, height in _tiles(photo.size, tiles):
            side = max(width, height)
            part = photo.crop((x, y, x + width, y + height)) if tiles > 1 else photo
            logits, boxes = self.blazeface(self._input([_fitted(part)], low=-1))
            scores = torch.sigmoid(logits[0].double()).cpu().numpy()
            values = boxes[0].double().cpu().numpy()
            for k in np.flatnonzero(scores > SURE):
                points = values[k].reshape(8, 2) + self._anchors[k]
                points[1] -= self._anchors[k]
                centre, size, right_eye, left_eye = points[:4] * side / DETECTOR_SIZE + [[x, y], [0, 0], [x, y], [x, y]]
                across = left_eye - right_eye
                angle = math.atan2(across[1], across[0])
                around = _Square(centre[0], centre[1], MESH_MARGIN * float(size.max()), angle)
                found.append((float(scores[k]), around, np.concatenate([centre - size / 2, centre + size / 2])))
        found.sort(key=lambda entry: -entry[0])
        kept: list[tuple[float, _Square, Array]] = []
        for entry in found:
            if len(kept) < MOST and all(_overlap(entry[2], other[2]) < OVERLAP for other in kept):
                kept.append(entry)
        return kept

    def _meshes(
        self, photo: Image.Image, candidates: list[tuple[float, _Square, Array]], known: list[Face] | None = None
    ) -> list[Face]:
        """The candidates that FaceMesh takes for faces too, beside those that are known."""
        faces = list(known or ())
        for _, square, _ in candidates:
            if square.side < 2 or not math.isfinite(square.side):
                continue
            presence = 0.0
            for _ in range(2):  # the second time on a square that the first one's points have laid
                points, logit = self.facemesh(self._input([square.picture(photo, MESH_SIZE)]))
                presence = float(torch.sigmoid(logit[0]))
                if presence < SURE:
                    break
                mesh = square.to_photo(points[0, :, :2].double().cpu().numpy(), MESH_SIZE)
                square = _around(mesh)
            else:
                face = self._face(photo, mesh, presence)
                if all(np.abs(face.points - other.points).max() > other.width / 2 for other in faces):
                    faces.append(face)
        return faces

    def _face(self, photo: Image.Image, mesh: Array, presence: float) -> Face:
        """Pupils by Iris, corners of the mouth by the mesh."""
        angle = math.atan2(*(mesh[EYES[1][1]] - mesh[EYES[0][0]])[::-1])
        squares = []
        for outer, inner in EYES:
            middle, width = (mesh[outer] + mesh[inner]) / 2, math.dist(mesh[outer], mesh[inner])
            squares.append(_Square(middle[0], middle[1], max(IRIS_MARGIN * width, 1.0), angle))
        pictures = [square.picture(photo, IRIS_SIZE) for square in squares]
        pictures[1] = pictures[1].transpose(Image.Transpose.FLIP_LEFT_RIGHT)  # the network knows right eyes
        _, irises = self.iris(self._input(pictures))
        centres = irises[:, 0, :2].double().cpu().numpy()
        centres[1, 0] = IRIS_SIZE - centres[1, 0]
        eyes = [square.to_photo(centre[None], IRIS_SIZE)[0] for square, centre in zip(squares, centres, strict=True)]
        points = np.stack([*eyes, *mesh[list(MOUTH)]]) - 0.5  # from the outer corner to the first pixel's centre
        return Face(points, presence, "mediapipe")

    def _input(self, pictures: list[Image.Image], low: int = 0) -> Tensor:
        """RGB pictures -> [B, 3, n, n] in [low, 1]."""
        pixels = np.stack([np.asarray(picture) for picture in pictures])
        return torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2).float() / 255 * (1 - low) + low


def _tiles(size: tuple[int, int], count: int) -> list[tuple[int, int, int, int]]:
    """count x count boxes (left, top, width, height) that overlap by a fifth; one is the whole photo."""
    if count == 1:
        return [(0, 0, *size)]
    share = 1.25 / count
    width, height = (max(1, round(n * share)) for n in size)
    steps = [k / (count - 1) for k in range(count)]
    return [(round(u * (size[0] - width)), round(v * (size[1] - height)), width, height) for v in steps for u in steps]


def _fitted(picture: Image.Image) -> Image.Image:
    """At the left and upper edge of a black square, as large as fits."""
    scale = DETECTOR_SIZE / max(picture.size)
    size = tuple(max(1, round(n * scale)) for n in picture.size)
    square = Image.new("RGB", (DETECTOR_SIZE, DETECTOR_SIZE))
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    square.paste(picture.resize(size, how))  # type: ignore[arg-type]
    return square


def _around(mesh: Array) -> _Square:
    """The square around a mesh, turned with the line of its eyes."""
    across = mesh[EYES[1][1]] - mesh[EYES[0][0]]
    angle = math.atan2(across[1], across[0])
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    straight = mesh @ turn.T
    middle = (straight.min(0) + straight.max(0)) / 2 @ turn
    return _Square(float(middle[0]), float(middle[1]), MESH_MARGIN * float(np.ptp(straight, axis=0).max()), angle)


def _overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    total = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both
    return both / total if total > 0 else 0.0
