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
from dataclasses import dataclass, replace

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
STRIP = 1 << 20  # pixels of the photo that are changed at a time
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

    Pixels outside of the crops are those of the photo, bit for bit. Where crops overlap, the one whose middle is nearer
    goes before. A crop may be of the photo as it is read at half its size. Beside photo and result, memory is that of a
    strip and of the crops. ImageError for a crop of another photo.
    """
    photo = own_mode(photo)
    faces = [replace(face, crop=face.crop.scaled_to(photo.size)) for face in edited]
    rgb = to_rgb(photo) if any(face.before is None for face in faces) else photo
    changes = [change for face in faces if (change := _Change(rgb, face)).area]
    result = photo.copy()
    if not changes:
        return result
    first, last = min(change.box[1] for change in changes), max(change.box[3] for change in changes)
    rows = max(1, STRIP // photo.width)
    for top in range(first, last, rows):
        bottom = min(top + rows, last)
        here = [change for change in changes if change.box[1] < bottom and change.box[3] > top]
        if not here:
            continue
        left, right = min(change.box[0] for change in here), max(change.box[2] for change in here)
        strip = left, top, right, bottom
        own = photo.crop(strip)
        old = to_rgb(own)
        new = np.rint(np.asarray(old, np.float32) + _together(here, strip, old)).clip(0, 255).astype(np.uint8)
        result.paste(into_mode(own, old, Image.fromarray(new)), strip[:2])
    return result


def feathered(size: int) -> Plane:
    """[size, size]: the mask M."""
    place = (np.arange(size, dtype=np.float32) + 0.5) / size
    rise = ((np.minimum(place, 1 - place) - FEATHER[0]) / (FEATHER[1] - FEATHER[0])).clip(0, 1)
    rise = rise * rise * (3 - 2 * rise)
    return rise[:, None] * rise[None]


class _Change:
    """What a face changes in its photo. box: where; area: of that in pixels, 0 where the crop is beside the photo."""

    def __init__(self, rgb: Image.Image, face: EditedFace):
        crop = self.crop = face.crop
        corners = np.array(crop.quad)
        low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
        left, top = (int(n) for n in np.maximum(low, 0))
        right, bottom = (int(n) for n in np.minimum(high, rgb.size))
        self.box = left, top, right, bottom
        self.area = max(0, right - left) * max(0, bottom - top)
        if not self.area:
            return
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
        kept = np.exp(-((gaussian(np.abs(difference).max(-1), size / 100) / KEPT) ** 2))
        small = min(size, max(1, round(crop.side)))
        origin = crop.to_crop(np.array([[0, 0], [1, 0], [0, 1]])) * small / crop.size
        self._start, self._across, self._down = origin[0], origin[1] - origin[0], origin[2] - origin[0]
        planes = [difference[:, :, band] * mask for band in range(3)]
        planes += [mask, mask * (1 - kept), *(np.asarray(before.getchannel(band), np.float32) for band in range(3))]
        self._planes = [_resized(plane, small) if small < size else plane for plane in planes]

    def __call__(self, place: Box, rgb: Plane) -> tuple[Plane, Plane]:
        """(what is added in a part of the photo [h, w, 3], the mask there [h, w]), by what is there."""
        *change, mask, lost, red, green, blue = (self._drawn(plane, place) for plane in self._planes)
        mask, lost = mask.clip(0, 1), lost.clip(0, 1)
        for band, before in enumerate((red, green, blue)):
            change[band] -= lost * (rgb[:, :, band] - before)
        added = np.stack(change, -1)
        added[mask <= 0] = 0
        return added, mask

    def _drawn(self, plane: Plane, place: Box) -> Plane:
        """A plane of the crop, averaged down or smoothly drawn up, where it lies in a part of the photo."""
        left, top, right, bottom = place
        start = self._start + left * self._across + top * self._down
        (a, c), (b, d), (x, y) = self._across, self._down, start
        size, how = (right - left, bottom - top), Image.Resampling.BICUBIC
        return np.array(Image.fromarray(plane).transform(size, Image.Transform.AFFINE, (a, b, x, c, d, y), how))


def _together(changes: Sequence[_Change], strip: Box, rgb: Image.Image) -> Plane:
    """What all faces add in a strip; where they overlap, weighted by mask and by how near a crop's middle is."""
    fine = np.asarray(rgb, np.float32)
    added = np.zeros_like(fine)
    total = np.full(fine.shape[:2], 1e-12, np.float32)
    for change in changes:
        left, top, right, bottom = change.box
        place = left, max(top, strip[1]), right, min(bottom, strip[3])
        where = np.s_[place[1] - strip[1] : place[3] - strip[1], place[0] - strip[0] : place[2] - strip[0]]
        here, mask = change(place, fine[where])
        if len(changes) == 1:
            added[where] = here
            return added
        y, x = np.mgrid[place[1] - top : place[3] - top, : right - left].astype(np.float32)
        near = (x / (right - left) - 0.5) ** 2 + (y / (bottom - top) - 0.5) ** 2
        weight = mask * np.exp(-16 * near)
        added[where] += here * weight[:, :, None]
        total[where] += weight
    return np.asarray(added / total[:, :, None])


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
