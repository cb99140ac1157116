"""An edited crop back into its photo.

What is added to the photo is the difference between the edited crop and the crop as it was. So a crop that was not
edited changes nothing, and detail of the photo that is finer than the crop stays wherever the edit changes little.

At the crop's size, with E the edited crop, C the crop, M a mask that is 1 inside and falls to 0 towards the edge:

    D = E - C - seam(E - C)            the seam's slow difference in colour is taken off, near the edge
    photo + M D - M (1 - k) (photo - C)

The last term takes off detail that C does not have, where the edit changes much: k = exp(-(|D| / KEPT)^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sdic.errors import ImageError
from sdic.faces.alignment import FaceCrop, cut, gaussian
from sdic.faces.ownmode import KEPT, into_mode, own_mode
from sdic.utils.colour import to_rgb

Plane = NDArray[np.float32]
FEATHER = (0.01, 0.12)
"""Where the mask leaves 0 and reaches 1, as shares of the side from the edge."""
SEAM = 64  # px at which the seam's colours are compared
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class EditedFace:
    """picture: the edited crop, of any size. crop: where it lay. before: the crop as it was, if it is at hand; it is
    cut from the photo again otherwise."""

    picture: Image.Image
    crop: FaceCrop
    before: Image.Image | None = None


def paste(photo: Image.Image, edited: Sequence[EditedFace]) -> Image.Image:
    """Put edited crops back into an upright photo of any mode; the same mode comes out (a palette's colours as RGB).

    Pixels outside of the crops are those of
    the photo, bit for bit. Where crops overlap, the one whose middle is nearer goes before.
    ImageError for a crop of another photo.
    """
    photo = own_mode(photo)
    rgb = to_rgb(photo)
    for face in edited:
        if face.crop.photo_size != photo.size:
            raise ImageError(f"the crop is of a photo of {face.crop.photo_size}, this one is {photo.size}")
    parts = [part for face in edited if (part := _change(rgb, face)) is not None]
    if len(parts) > 1:
        parts = _shared(parts, photo.size)
    result = photo.copy()
    for box, change, _ in parts:
        old = rgb.crop(box)
        new = np.rint(np.asarray(old, np.float32) + change).clip(0, 255).astype(np.uint8)
        result.paste(into_mode(result.crop(box), old, Image.fromarray(new)), box[:2])
        if len(parts) > 1:
            rgb = to_rgb(result)
    return result


def feathered(size: int) -> Plane:
    """[size, size]: the mask M."""
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    rise = ((np.minimum(place, 1 - place) - FEATHER[0]) / (FEATHER[1] - FEATHER[0])).clip(0, 1)
    rise = rise * rise * (3 - 2 * rise)
    return rise[:, None] * rise[None]


def _change(rgb: Image.Image, face: EditedFace) -> tuple[Box, Plane, Plane] | None:
    """(box of the photo, what is added there [h, w, 3], the mask there [h, w]); None where the crop is beside it."""
    crop = face.crop
    corners = np.array(crop.quad)
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    left, top = (int(n) for n in np.maximum(low, 0))
    right, bottom = (int(n) for n in np.minimum(high, rgb.size))
    if left >= right or top >= bottom:
        return None
    box = left, top, right, bottom
    picture = to_rgb(face.picture)
    if picture.width != picture.height:
        raise ImageError(f"an edited crop is square, this one is {picture.width}x{picture.height}")
    size = picture.width
    before = cut(rgb, corners - 0.5, size)[0] if face.before is None else to_rgb(face.before)
    if before.size != picture.size:
        before = before.resize(picture.size, Image.Resampling.LANCZOS)
    difference = np.asarray(picture, np.float32) - np.asarray(before, np.float32)
    mask = feathered(size)
    difference -= _seam(difference, mask, _inside(crop, size))
    here = _Drawer(crop, size, box)
    change = np.stack([here(difference[:, :, band] * mask) for band in range(3)], -1)
    drawn_mask = here(mask).clip(0, 1)
    kept = np.exp(-((gaussian(np.abs(difference).max(-1), size / 100) / KEPT) ** 2))
    lost = here(mask * (1 - kept)).clip(0, 1)
    fine = np.asarray(rgb.crop(box), np.float32)
    for band in range(3):
        change[:, :, band] -= lost * (fine[:, :, band] - here(np.asarray(before.getchannel(band), np.float32)))
    change[drawn_mask <= 0] = 0
    return box, change, drawn_mask


def _seam(difference: Plane, mask: Plane, inside: Plane) -> Plane:
    """[n, n, 3]: the slow part of the difference along the edge, fading out inwards.

    A weighted mean of what lies in the feathered edge and in the photo; further in, where there is ever less of that
    edge to be averaged, it goes to zero.
    """
    weight = _resized(mask * (1 - mask) * 4 * inside, SEAM)
    sigma = SEAM * 0.06
    total = gaussian(weight, sigma)
    total += 0.1 * max(float(total.max()), 1e-6)
    slow = [gaussian(_resized(difference[:, :, band], SEAM) * weight, sigma) / total for band in range(3)]
    return np.stack([_resized(plane, len(mask)) for plane in slow], -1)


def _inside(crop: FaceCrop, size: int) -> Plane:
    """[size, size]: 1 where the crop lies in the photo."""
    steps = (np.arange(size) + 0.5) * crop.size / size
    points = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    there = crop.to_photo(points)
    return ((there >= 0) & (there <= np.array(crop.photo_size))).all(1).reshape(size, size).astype(np.float32)


def _resized(plane: Plane, size: int) -> Plane:
    how = Image.Resampling.BOX if size < len(plane) else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(plane).resize((size, size), how))


class _Drawer:
    """Draws planes of a crop's size where the crop lies in a box of the photo: averaged down, or smoothly up."""

    def __init__(self, crop: FaceCrop, size: int, box: Box):
        self.box, self.small = box, min(size, max(1, round(crop.side)))
        origin = crop.to_crop(np.array([[box[0], box[1]], [box[0] + 1, box[1]], [box[0], box[1] + 1]]))
        start, across, down = origin * self.small / crop.size
        across, down = across - start, down - start
        self.matrix = (across[0], down[0], start[0], across[1], down[1], start[1])

    def __call__(self, plane: Plane) -> Plane:
        picture = Image.fromarray(plane)
        if self.small < len(plane):
            picture = picture.resize((self.small, self.small), Image.Resampling.BOX)
        left, top, right, bottom = self.box
        size = (right - left, bottom - top)
        return np.array(picture.transform(size, Image.Transform.AFFINE, self.matrix, Image.Resampling.BICUBIC))


def _shared(parts: Sequence[tuple[Box, Plane, Plane]], size: tuple[int, int]) -> list[tuple[Box, Any, Plane]]:
    """The changes of several faces, weighted where they overlap: by mask, and by how near the crop's middle is."""
    total = np.full((size[1], size[0]), 1e-12, np.float32)
    weights = []
    for (left, top, right, bottom), _, mask in parts:
        y, x = np.mgrid[: bottom - top, : right - left].astype(np.float32)
        near = ((x - mask.shape[1] / 2) / mask.shape[1]) ** 2 + ((y - mask.shape[0] / 2) / mask.shape[0]) ** 2
        weights.append(mask * np.exp(-16 * near))
        total[top:bottom, left:right] += weights[-1]
    shared = []
    for (box, change, mask), weight in zip(parts, weights, strict=True):
        left, top, right, bottom = box
        shared.append((box, change * (weight / total[top:bottom, left:right])[:, :, None], mask))
    return shared
