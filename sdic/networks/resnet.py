"""The residual network of He et al. (2016) as ReStyle and HyperStyle use it: a stem without pooling, PReLU behind it.

Shapes: B batch, I input channels, H and W height and width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate

import torch.nn.functional as F
from torch import Tensor, nn

from sdic.networks.irse import WIDTHS

RESNET34 = (3, 4, 6, 3)


class BasicBlock(nn.Module):
    """3x3 (stride), norm, ReLU, 3x3, norm; plus the input, projected by 1x1 where it has another shape; ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.project = None
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.project = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out_channels)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + (x if self.project is None else self.project(x)))


class ResNetBody(nn.Module):
    """Stem and blocks: [B, I, H, W] -> features of the four stages, at 1/2, 1/4, 1/8 and 1/16 of the size."""

    def __init__(self, blocks: Sequence[int] = RESNET34, widths: Sequence[int] = WIDTHS, *, channels: int = 3):
        super().__init__()
        inputs = widths[0]
        conv = nn.Conv2d(channels, inputs, 7, 2, 3, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(inputs), act=nn.PReLU(inputs)))
        self.blocks = nn.ModuleList()
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            for index in range(count):
                self.blocks.append(BasicBlock(inputs, width, 2 if index == 0 and stage > 0 else 1))
                inputs = width
        self.stage_ends = tuple(count - 1 for count in accumulate(blocks))

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.stem(image)
        stages = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                stages.append(x)
        return stages
