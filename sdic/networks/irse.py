"""The improved residual network (IR, IR-SE) behind e4e, ArcFace and CurricularFace.

Shapes: B batch, C channels, H and W height and width. "SE" is squeeze-and-excitation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IR50 = (3, 4, 14, 3)
IR101 = (3, 13, 30, 3)
WIDTHS = (64, 128, 256, 512)


class SqueezeExcite(nn.Module):
    """Scale every channel by a gate computed from all channel means."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))
        return x * gate


class IRBlock(nn.Module):
    """norm, 3x3, PReLU, 3x3 (stride), norm, optional SE; plus the input, subsampled or projected by 1x1."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, se: bool = False):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False)
        self.act = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.se = SqueezeExcite(out_channels) if se else None
        self.stride = stride
        self.project = None
        if in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.project = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out_channels)))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.project is None else self.project(x)
        y = self.norm2(self.conv2(self.act(self.conv1(self.norm1(x)))))
        if self.se is not None:
            y = self.se(y)
        return y + shortcut


class IRBody(nn.Module):
    """Stem and blocks: image [B, I, H, W] -> features of the four stages, at 1/2, 1/4, 1/8 and 1/16 of the size."""

    def __init__(
        self, blocks: Sequence[int] = IR50, widths: Sequence[int] = WIDTHS, *, se: bool = True, channels: int = 3
    ):
        super().__init__()
        inputs = widths[0]
        conv = nn.Conv2d(channels, inputs, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(inputs), act=nn.PReLU(inputs)))
        self.blocks = nn.ModuleList()
        for count, width in zip(blocks, widths, strict=True):
            for index in range(count):
                self.blocks.append(IRBlock(inputs, width, 2 if index == 0 else 1, se=se))
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
