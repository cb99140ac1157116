"""Where an edit may act: a mask from a picture, or a region drawn by rectangles, ellipses and polygons.

Shapes: H and W size of the pictures that people see, R output size of the generator; a mask is 1 where the edit acts
and 0 where the inversion stays.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.errors import ConfigError, did_you_mean
from sdic.types import Geometry
from sdic.utils.files import sha256_of
from sdic.utils.images import read_picture
from sdic.utils.kinds import SUFFIXES
from sdic.utils.text import one_line

FEATHER = 0.02
BOX = "[left, top, right, bottom]"
SHAPES = {"rectangle": BOX, "ellipse": BOX, "polygon": "[[x, y], ...]"}
KEYS = (*SHAPES, "mask", "masks", "feather", "outside")
Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Region:
    """A part of a picture, of any size.

    shapes: (kind, points) of what is drawn; a rectangle and an ellipse have the two corners of their box. All lengths
        are fractions of the picture's width and height. Several shapes are one region.
    mask: a picture, white where the edit acts, instead of shapes.
    masks: a folder of such pictures, one for each photo, by the photo's name, instead of either.
    feather: how far the border is softened on either side, as a fraction of the picture's height.
    outside: the edit acts outside of it instead.
    """

    shapes: tuple[tuple[str, Points], ...] = ()
    mask: Path | None = None
    masks: Path | None = None
    feather: float = FEATHER
    outside: bool = False

    def file(self, name: str = "") -> Path | None:
        """The mask's picture for the photo of that name (without ending); ConfigError where there is none."""
        if self.masks is None:
            return self.mask
        for suffix in sorted(SUFFIXES, key=lambda suffix: (suffix != ".png", suffix)):
            if (path := self.masks / f"{name}{suffix}").is_file():
                return path
        raise ConfigError(f"no mask for this photo: {self.masks / name}.png is not there")

    def identity(self, name: str = "") -> str:
        """Distinguishes regions by what they are, for a record's key."""
        path = self.file(name)
        content = repr(self.shapes) if path is None else sha256_of(path)
        return hashlib.sha256(f"{content} {self.feather} {self.outside}".encode()).hexdigest()

    def draw(self, size: tuple[int, int], name: str = "") -> Tensor:
        """The mask [H, W] for pictures of (H, W), from 0 to 1, its border softened.

        ConfigError where a mask's picture has another size; ImageError where it cannot be read.
        """
        path = self.file(name)
        if path is None:
            drawn = torch.zeros(size)
            for kind, points in self.shapes:
                drawn = torch.maximum(drawn, _inside(kind, points, size))
        else:
            drawn = mask_of(np.array(read_picture(path).convert("L")), size, str(path))
        drawn = softened(drawn, round(self.feather * size[0]))
        return 1 - drawn if self.outside else drawn


def region_of(said: Any, folder: Path, where: str) -> Region:
    """What an edit list says of a region, such as {ellipse: [0.3, 0.6, 0.7, 0.9], feather: 0.05}, or {mask: FILE}.

    folder: what files are relative to. where: for messages. ConfigError for what is no region.
    """
    if not isinstance(said, Mapping):
        raise ConfigError(f"{where}: a region is key: value lines ({', '.join(KEYS)}), got {one_line(said)}")
    for key in said:
        if key not in KEYS:
            raise ConfigError(
                f"{where}: unknown key {one_line(key)!r}{did_you_mean(str(key), KEYS)}; known: {', '.join(KEYS)}"
            )
    drawn = [kind for kind in SHAPES if kind in said]
    if len([key for key in ("mask", "masks") if key in said]) + bool(drawn) != 1:
        raise ConfigError(f"{where}: says either shapes ({', '.join(SHAPES)}), or mask: FILE, or masks: FOLDER")
    shapes = tuple(shape for kind in drawn for shape in _shapes(kind, said[kind], where))
    feather, outside = said.get("feather", FEATHER), said.get("outside", False)
    if type(feather) not in (int, float) or not 0 <= feather <= 0.5:
        raise ConfigError(f"{where}: feather must be a number from 0 to 0.5 of the picture's height, got {feather!r}")
    if type(outside) is not bool:
        raise ConfigError(f"{where}: outside must be true or false, got {one_line(outside)}")
    for key, there, what in (("mask", Path.is_file, "file"), ("masks", Path.is_dir, "folder")):
        if key in said and not (isinstance(said[key], str) and there(folder / said[key])):
            raise ConfigError(f"{where}: {folder / one_line(said[key])}: no such {what} for {key}")
    mask, masks = (folder / said[key] if key in said else None for key in ("mask", "masks"))
    return Region(shapes, mask, masks, float(feather), outside)


def _shapes(kind: str, said: Any, where: str) -> list[tuple[str, Points]]:
    """One shape, or a list of them."""
    depth = 2 if kind == "polygon" else 1
    several = _depth(said) == depth + 1
    shapes = []
    for shape in said if several else [said]:
        flat = [shape] if depth == 1 else shape
        numbers = [n for part in flat for n in part] if isinstance(flat, list) and all(map(_is_list, flat)) else []
        pairs = len(numbers) == 4 if depth == 1 else len(flat) >= 3 and all(len(part) == 2 for part in flat)
        good = numbers and pairs and all(type(n) in (int, float) and math.isfinite(n) and 0 <= n <= 1 for n in numbers)
        points = tuple(zip(numbers[::2], numbers[1::2], strict=False))
        if not good or (depth == 1 and not (points[0][0] < points[1][0] and points[0][1] < points[1][1])):
            raise ConfigError(
                f"{where}: {kind} must be {SHAPES[kind]}, fractions of the picture's width and height from 0 to 1, "
                f"got {one_line(shape)}"
            )
        shapes.append((kind, points))
    return shapes


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _depth(value: Any) -> int:
    return 1 + _depth(value[0]) if isinstance(value, list) and value else 0


def _inside(kind: str, points: Points, size: tuple[int, int]) -> Tensor:
    """[H, W]: 1 where a pixel's centre lies in the shape."""
    y, x = ((torch.arange(n) + 0.5) / n for n in size)
    y = y[:, None]
    if kind == "polygon":  # a ray to the right crosses its sides an odd number of times
        odd = torch.zeros(size, dtype=torch.bool)
        for (x0, y0), (x1, y1) in zip(points, (*points[1:], points[0]), strict=True):
            if y0 != y1:
                odd ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
        return odd.float()
    (left, top), (right, bottom) = points
    if kind == "rectangle":
        return ((left <= x) & (x < right) & (top <= y) & (y < bottom)).float()
    a, b = (2 * x - left - right) / (right - left), (2 * y - top - bottom) / (bottom - top)
    return (a.square() + b.square() <= 1).float()


def mask_of(levels: Any, size: tuple[int, int], name: str = "the mask") -> Tensor:
    """Grey levels [H, W], uint8 from 0 to 255 -> mask [H, W] from 0 to 1; ConfigError where (H, W) is another size."""
    if levels.shape != size:
        raise ConfigError(
            f"{name}: the mask is {levels.shape[1]}x{levels.shape[0]}, and the model's pictures are "
            f"{size[1]}x{size[0]}; bring it to that size, or draw the region in an edit list"
        )
    return torch.from_numpy(levels).float() / 255


def softened(mask: Tensor, reach: int) -> Tensor:
    """A mask [H, W] with borders that fall off over `reach` pixels on either side, and are as before beyond."""
    if reach < 1:
        return mask
    taps = torch.hann_window(2 * reach + 3, periodic=False)[1:-1]
    taps = (taps / taps.sum())[None, None, None]
    soft = F.conv2d(F.pad(mask[None, None], (reach, reach, reach, reach), mode="replicate"), taps)
    return F.conv2d(soft, taps.transpose(2, 3))[0, 0].clamp(0, 1)


def visible_size(geometry: Geometry) -> tuple[int, int]:
    """(H, W) of the pictures that people see."""
    top, bottom, left, right = geometry.crop or (0, geometry.resolution, 0, geometry.resolution)
    return bottom - top, right - left


def parts(
    region: Region | None, geometry: Geometry, names: Mapping[int, str]
) -> Iterator[tuple[list[int], Tensor | None]]:
    """Those of some photos, number -> name, that have one mask, and that mask: all, or each alone where every photo has
    a mask of its own. No region is no mask."""
    if region is None:
        yield list(names), None
        return
    size = visible_size(geometry)
    if region.masks is None:
        yield list(names), region.draw(size)
    else:
        yield from (([number], region.draw(size, name)) for number, name in names.items())


def checked(mask: Tensor, geometry: Geometry) -> Tensor:
    """A mask [H, W] of the pictures that people see -> [1, 1, R, R]; ConfigError for any other."""
    whole = mask.new_zeros(1, 1, geometry.resolution, geometry.resolution, dtype=torch.float32)
    part = geometry.visible(whole)
    if mask.shape != part.shape[2:]:
        have, wanted = ("x".join(map(str, reversed(shape))) for shape in (mask.shape, part.shape[2:]))
        raise ConfigError(f"the mask is {have}, and the model's pictures are {wanted}; bring it to that size")
    if not bool(((mask >= 0) & (mask <= 1)).all()):
        raise ConfigError("a mask holds numbers from 0 (the inversion stays) to 1 (the edit acts)")
    part.copy_(mask)
    return whole


def within(mask: Tensor | None, before: Tensor, after: Tensor) -> Tensor:
    """before + mask (after - before), of pictures or features [B, C, h, h]; where the mask is 0, `before` to the bit.

    mask: [1, 1, R, R], averaged to their size, or None for `after`.
    """
    if mask is None:
        return after
    mask = F.adaptive_avg_pool2d(mask.to(before), (before.shape[2], before.shape[3]))
    return torch.where(mask == 0, before, before + mask * (after - before))
