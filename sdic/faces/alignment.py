"""The crop of a face as the FFHQ dataset makes it, and the record that leads back from the crop to the photo.

The recipe (Karras et al. 2019, `ffhq-dataset`): a square around eyes and mouth, turned with the eyes, its side the
larger of four times the eyes' distance and 3.6 times the distance from eyes to mouth; reduced if it is much larger than
the output; what lies outside the photo is its mirror image, blurred and faded to the median colour; drawn at four times
the output's size, and averaged down.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdic.errors import ImageError
from sdic.faces.points import Array, Face
from sdic.utils.text import one_line

SUPERSAMPLING = 4  # the recipe draws 4096 px for 1024
LARGEST = 2048  # px of a crop
MANY = 1_000_000  # pixels that are enough for a median
FINE = 10.0  # px of standard deviation up to which a blur is computed at full size


@dataclass(frozen=True)
class FaceCrop:
    """Where a crop lies in its photo; all that pasting needs.

    quad: its corners in the upright photo (left above, left below, right below, right above), in pixels, (0, 0) the
    outer corner of the first pixel. size: side of the crop in pixels. photo_size: (width, height) of the upright photo.
    source: what found the face.
    """

    quad: tuple[tuple[float, float], ...]
    size: int
    photo_size: tuple[int, int]
    source: str = ""

    def __post_init__(self) -> None:
        try:
            quad = tuple((float(x), float(y)) for x, y in self.quad)
            width, height = (int(side) for side in self.photo_size)
            good = len(quad) == 4 and bool(np.isfinite(quad).all()) and min(width, height, int(self.size)) > 0
        except (TypeError, ValueError, OverflowError):
            good = False
        if not good or not isinstance(self.source, str) or int(self.size) > LARGEST:
            raise ImageError(f"a crop with a place that makes no sense: {one_line(asdict(self))}")
        object.__setattr__(self, "quad", quad)
        object.__setattr__(self, "size", int(self.size))
        object.__setattr__(self, "photo_size", (width, height))
        first, second, third, fourth = (np.array(corner) for corner in quad)
        across, down = fourth - first, second - first
        skew = max(np.abs(third - fourth - down).max(), np.abs(np.array([-across[1], across[0]]) - down).max())
        if not 1 <= self.side <= 64 * max(width, height) or skew > 0.02 * self.side:
            raise ImageError(f"a crop that is no square of a reasonable size: {one_line(quad)}")

    @property
    def side(self) -> float:
        """Pixels of the photo that a side of the crop has."""
        return math.dist(self.quad[0], self.quad[3])

    def to_photo(self, points: Array) -> Array:
        """[N, 2] in pixels of the crop (of `size`) -> in pixels of the photo; both from the outer corner."""
        first, second, _, fourth = np.array(self.quad)
        steps = np.stack([fourth - first, second - first]) / self.size
        return np.asarray(first + np.asarray(points) @ steps)

    def to_crop(self, points: Array) -> Array:
        """The inverse of `to_photo`."""
        first, second, _, fourth = np.array(self.quad)
        steps = np.stack([fourth - first, second - first]) / self.size
        return np.asarray((np.asarray(points) - first) @ np.linalg.inv(steps))

    def scaled_to(self, photo_size: tuple[int, int]) -> FaceCrop:
        """The same crop in the photo at its full size, where it was found in one read at half its size, or a quarter;
        ImageError for another photo."""
        if not any(self.photo_size == tuple(-(-side // step) for side in photo_size) for step in (1, 2, 4)):
            raise ImageError(f"the crop is of a photo of {self.photo_size}, this one is {photo_size}")
        ratio = np.array(photo_size) / np.array(self.photo_size)
        quad = tuple(map(tuple, np.array(self.quad) * ratio))
        return FaceCrop(quad, self.size, photo_size, self.source)

    def numbers(self) -> list[float]:
        """All but the source as 11 numbers: corners, size, width and height of the photo."""
        return [*(value for corner in self.quad for value in corner), self.size, *self.photo_size]

    @classmethod
    def from_numbers(cls, numbers: Sequence[float]) -> FaceCrop | None:
        """The inverse of `numbers`, None for zeros (no crop); ImageError for anything else."""
        values = [float(value) for value in numbers]
        if len(values) != 11 or not all(map(math.isfinite, values)):
            raise ImageError(f"the place of a crop is 11 numbers, got {one_line(values)}")
        corners = tuple(zip(values[:8:2], values[1:8:2], strict=True))
        return cls(corners, round(values[8]), (round(values[9]), round(values[10]))) if any(values) else None

    def to_text(self) -> str:
        """JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> FaceCrop:
        """The inverse of `to_text`; ImageError for anything else."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError, RecursionError) as error:
            raise ImageError(f"no place of a crop ({one_line(error)}): {one_line(text, 200)}") from error


def ffhq_quad(face: Face) -> Array:
    """[4, 2]: corners of the crop in pixels from the centre of the first one; left above, then against the clock."""
    left, right, mouth_left, mouth_right = face.points
    eyes, mouth = (left + right) / 2, (mouth_left + mouth_right) / 2
    across, down = right - left, mouth - eyes
    x = across + np.array([down[1], -down[0]])
    length = float(np.hypot(*x))
    if length < 1e-6:
        raise ImageError("eyes and mouth do not lie as in a face")
    x *= max(2.0 * float(np.hypot(*across)), 1.8 * float(np.hypot(*down))) / length
    y = np.array([-x[1], x[0]])
    centre = eyes + 0.1 * down
    return np.stack([centre - x - y, centre - x + y, centre + x + y, centre + x - y])


def align(photo: Image.Image, face: Face, size: int = 1024) -> tuple[Image.Image, FaceCrop]:
    """An upright RGB photo and a face in it -> the crop of `size` px as FFHQ makes it, and where it lies.

    ImageError where the crop would have hardly a pixel, or be many times as large as the photo.
    """
    return cut(photo, ffhq_quad(face), size, face.source)


def cut(photo: Image.Image, quad: Array, size: int, source: str = "") -> tuple[Image.Image, FaceCrop]:
    """`align`, by the corners that `ffhq_quad` gives."""
    side = math.dist(quad[0], quad[3])
    if not 4 <= side <= 8 * max(photo.size) or not _touches(quad, photo.size):
        raise ImageError(f"the face's crop of {side:.0f} px does not lie in this photo of {photo.width}x{photo.height}")
    full = photo.size
    shrink = math.floor(side / size / 2)
    if shrink > 1:
        photo = photo.resize(tuple(max(1, round(n / shrink)) for n in full), Image.Resampling.LANCZOS)  # type: ignore[arg-type]
        quad, side = quad / shrink, side / shrink
    ratio = np.array(full) / np.array(photo.size)
    where = FaceCrop(tuple(map(tuple, (quad + 0.5) * ratio)), size, full, source)

    border = max(round(side * 0.1), 3)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    box = (*np.maximum(low - border, 0), *np.minimum(high + border, photo.size))
    left, top, right, bottom = (int(n) for n in box)
    photo, quad = photo.crop((left, top, right, bottom)), quad - (left, top)
    low, high = np.floor(quad.min(0)).astype(int), np.ceil(quad.max(0)).astype(int)
    pad = np.maximum([*(border - low), *(high - photo.size + border)], 0)
    if pad.max() > border - 4:
        pad = np.maximum(pad, round(side * 0.3))
        photo, quad = _padded(photo, pad, side * 0.02), quad + pad[:2]
    drawn = SUPERSAMPLING * size
    corners = tuple(float(n) for n in (quad + 0.5).flatten())
    crop = photo.transform((drawn, drawn), Image.Transform.QUAD, corners, Image.Resampling.BILINEAR)
    return crop.resize((size, size), Image.Resampling.LANCZOS), where


def is_aligned(photo_size: tuple[int, int], face: Face) -> bool:
    """Whether a square photo is a crop as FFHQ has them, by the face in it: its own crop would be the photo, to 4 % of
    the side in place, 10 % in size and 4 degrees of roll."""
    width, height = photo_size
    if abs(width - height) > 1:
        return False
    quad = ffhq_quad(face) + 0.5
    side = math.dist(quad[0], quad[3])
    off = float(np.abs(quad.mean(0) - width / 2).max())
    across = quad[3] - quad[0]
    roll = math.degrees(math.atan2(across[1], across[0]))
    return off < 0.04 * width and 0.9 < side / width < 1.1 and abs(roll) < 4


def _touches(quad: Array, size: tuple[int, int]) -> bool:
    """Whether at least the middle of a crop lies in the photo, or a tenth of its side beside it."""
    margin = 0.1 * math.dist(quad[0], quad[3])
    return all(-margin <= middle <= n + margin for middle, n in zip(quad.mean(0), size, strict=True))


def _padded(photo: Image.Image, pad: NDArray[Any], sigma: float) -> Image.Image:
    """The photo with its mirror image around it, `pad` = (left, above, right, below), blurred and faded outwards."""
    left, above, right, below = (int(n) for n in pad)
    height, width = photo.height + above + below, photo.width + left + right
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    across = 1 - np.minimum(x / left, (width - 1 - x) / right)
    down = 1 - np.minimum(y / above, (height - 1 - y) / below)
    mask = np.maximum(across[None], down[:, None])
    blurred_part, faded_part = (3 * mask + 1).clip(0, 1), mask.clip(0, 1)
    few = max(1, math.isqrt(width * height // MANY))
    result = []
    for band in photo.split():  # one at a time: the whole in float32 would be hundreds of megabytes
        plane = np.pad(np.asarray(band, np.float32), ((above, below), (left, right)), "reflect")
        change = gaussian(plane, sigma) - plane
        change *= blurred_part
        plane += change
        np.subtract(np.median(plane[::few, ::few]), plane, out=change)
        change *= faded_part
        plane += change
        result.append(Image.fromarray(np.rint(plane, out=plane).clip(0, 255, out=plane).astype(np.uint8)))
    return Image.merge("RGB", result)


def gaussian(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """[H, W] blurred by a Gaussian that ends at four standard deviations; beyond the edge the plane is mirrored.

    A wide one is computed on averages of squares of pixels (a blur itself, which is taken off) and drawn up again:
    the same to a fraction of a level of 255, in a hundredth of the time.
    """
    step = int(sigma / FINE) + 1
    if step == 1:
        return _blurred(plane, sigma)
    height, width = plane.shape
    edge = step * (int(4 * sigma / step) + 3)
    wide = np.pad(plane, ((edge, edge + -height % step), (edge, edge + -width % step)), "symmetric")
    small = wide.reshape(wide.shape[0] // step, step, -1, step).mean((1, 3))
    variance = (sigma / step) ** 2 - (1 - 1 / step**2) / 12 - 1 / 6  # without the averaging's and the drawing up's
    picture = Image.fromarray(_blurred(small, math.sqrt(variance)))
    box = (edge / step, edge / step, (edge + width) / step, (edge + height) / step)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR, box=box))


def _blurred(plane: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    radius = int(4 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2).astype(np.float32)
    taps /= taps.sum()
    for _ in range(2):
        wide = np.pad(plane, ((radius, radius), (0, 0)), "symmetric")
        total = np.zeros_like(plane)
        for start, tap in enumerate(taps):
            total += tap * wide[start : start + len(plane)]
        plane = np.ascontiguousarray(total.T)
    return plane
