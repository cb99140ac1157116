"""MediaPipe's three small face networks: BlazeFace (back camera), FaceMesh, Iris.

BlazeFace: Bazarevsky et al. 2019 (arXiv 1907.05047). FaceMesh: Kartynnik et al. 2019 (1907.06724). Iris: Ablavatski et
al. 2020 (2006.11341). The weights are Google's (Apache-2.0, see NOTICE); the arithmetic is TensorFlow's.
Pictures are RGB in [-1, 1] for BlazeFace, in [0, 1] for the other two.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DETECTOR_SIZE, MESH_SIZE, IRIS_SIZE = 256, 192, 64
"""Sides of the square pictures that the networks look at."""
ANCHORS = ((16, 2), (8, 6))
"""BlazeFace: (cells a side, anchors in a cell) of its two grids, in the order of its outputs: 896 in all."""


def same(x: Tensor, kernel: int, stride: int) -> Tensor:
    """TensorFlow's padding SAME for sizes that the stride divides: an odd pixel goes to the right and below."""
    total = kernel - stride
    left = total // 2
    return F.pad(x, (left, total - left, left, total - left)) if total > 0 else x


class Convolution(nn.Conv2d):
    """A convolution with TensorFlow's padding SAME."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(same(x, self.kernel_size[0], self.stride[0]))


class Block(nn.Module):
    """y = act(shortcut(x) + point(depth(x))): a depthwise 3x3 convolution, then one of 1x1.

    With `inner` channels, Iris's bottleneck: y = act(shortcut(x) + point(depth(act(reduce(x))))).
    The shortcut is a maximum over 2x2 where the block halves the picture, and zeros in the channels that it adds.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, inner: int = 0, prelu: bool = True):
        super().__init__()
        self.stride, self.new = stride, outputs - inputs
        self.reduce = Convolution(inputs, inner, stride, stride) if inner else None
        self.reduce_act = nn.PReLU(inner) if inner else None
        middle = inner or inputs
        self.depth = Convolution(middle, middle, 3, 1 if inner else stride, groups=middle)
        self.point = Convolution(middle, outputs, 1)
        self.act = nn.PReLU(outputs) if prelu else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.max_pool2d(x, 2) if self.stride == 2 else x
        if self.new:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.new))
        if self.reduce is not None and self.reduce_act is not None:
            x = self.reduce_act(self.reduce(x))
        return self.act(shortcut + self.point(self.depth(x)))


class BlazeFace(nn.Module):
    """Where faces are: for each of 896 anchors a logit, a box and six points."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 24, 5, 2)
        widths = [*[(24, 24, 1)] * 7, (24, 24, 2), *[(24, 24, 1)] * 7, (24, 48, 2), *[(48, 48, 1)] * 7, (48, 96, 2)]
        self.blocks = nn.Sequential(*(Block(i, o, s, prelu=False) for i, o, s in [*widths, *[(96, 96, 1)] * 7]))
        self.half_depth = Convolution(96, 96, 3, 2, groups=96)
        self.half_point = Convolution(96, 96, 1)
        self.logits = nn.ModuleList(Convolution(96, count, 1) for _, count in ANCHORS)
        self.boxes = nn.ModuleList(Convolution(96, 16 * count, 1) for _, count in ANCHORS)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, 256, 256] in [-1, 1] -> logits [B, 896], boxes [B, 896, 16] in pixels.

        A box is centre (relative to its anchor), width and height, then six points relative to the anchor: right eye,
        left eye (of the person), nose, mouth, ears.
        """
        fine = self.blocks(F.relu(self.stem(picture)))
        coarse = F.relu(self.half_point(self.half_depth(fine)))
        logits, boxes = [], []
        for x, logit, box in zip((fine, coarse), self.logits, self.boxes, strict=True):
            logits.append(logit(x).permute(0, 2, 3, 1).flatten(1))
            boxes.append(box(x).permute(0, 2, 3, 1).reshape(len(x), -1, 16))
        return torch.cat(logits, 1), torch.cat(boxes, 1)


class MeshHead(nn.Module):
    """The end of FaceMesh: 128 channels of 3x3 -> `outputs` numbers."""

    def __init__(self, outputs: int):
        super().__init__()
        self.reduce = Convolution(128, 32, 1)
        self.reduce_act = nn.PReLU(32)
        self.block = Block(32, 32)
        self.output = nn.Conv2d(32, outputs, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.block(self.reduce_act(self.reduce(x)))).flatten(1)


class FaceMesh(nn.Module):
    """468 points of a face, and whether there is one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 16, 3, 2)
        self.stem_act = nn.PReLU(16)
        widths = [(16, 16, 1)] * 2
        for inputs, outputs in ((16, 32), (32, 64), (64, 128), (128, 128)):
            widths += [(inputs, outputs, 2), *[(outputs, outputs, 1)] * 2]
        self.trunk = nn.Sequential(*(Block(i, o, s) for i, o, s in widths))
        self.points_blocks = nn.Sequential(Block(128, 128, 2), Block(128, 128), Block(128, 128))
        self.points = MeshHead(468 * 3)
        self.presence_blocks = nn.Sequential(Block(128, 128, 2))
        self.presence = MeshHead(1)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, 192, 192] in [0, 1] -> points [B, 468, 3] in pixels (x, y, depth), logits of presence [B]."""
        x = self.trunk(self.stem_act(self.stem(picture)))
        points = self.points(self.points_blocks(x)).unflatten(1, (468, 3))
        return points, self.presence(self.presence_blocks(x))[:, 0]


class Iris(nn.Module):
    """The iris and the outline of one eye."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Convolution(3, 64, 3, 2)
        self.stem_act = nn.PReLU(64)
        widths = [*[(64, 64, 1, 32)] * 4, (64, 128, 2, 64), *[(128, 128, 1, 64)] * 4, (128, 128, 2, 64)]
        self.trunk = nn.Sequential(*(Block(*sizes) for sizes in widths))
        head = [(128, 128, 1, 64)] * 2 + [(128, 128, 2, 64), *[(128, 128, 1, 64)] * 2] * 2
        self.contour_blocks = nn.Sequential(*(Block(*sizes) for sizes in head))
        self.contour = nn.Conv2d(128, 71 * 3, 2)
        self.iris_blocks = nn.Sequential(*(Block(*sizes) for sizes in head))
        self.iris = nn.Conv2d(128, 5 * 3, 2)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, 64, 64] in [0, 1] -> outline of eye and brow [B, 71, 3], iris [B, 5, 3] (its centre first), in pixels.

        For the person's right eye, the left one in the picture; mirror the other.
        """
        x = self.trunk(self.stem_act(self.stem(picture)))
        contour = self.contour(self.contour_blocks(x)).flatten(1)
        return contour.unflatten(1, (71, 3)), self.iris(self.iris_blocks(x)).flatten(1).unflatten(1, (5, 3))
