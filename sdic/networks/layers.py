"""Small layers that several networks share. Shapes: B batch, C channels, H and W height and width."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GAIN = math.sqrt(2.0)


class EqualLinear(nn.Module):
    """Fully connected layer with equalized learning rate: weights of unit variance, scaled when used.

    [..., I] -> [..., O]. `lr_multiplier` scales weight and bias once more (0.01 in the mapping network).
    """

    def __init__(self, in_features: int, out_features: int, *, bias_init: float = 0.0, lr_multiplier: float = 1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init) / lr_multiplier))
        self.lr_multiplier = lr_multiplier
        self.scale = lr_multiplier / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.lr_multiplier)


class EqualConv2d(nn.Module):
    """Convolution with equalized learning rate: [B, I, H, W] -> [B, O, H', W']."""

    def __init__(
        self, in_channels: int, out_channels: int, size: int, *, stride: int = 1, padding: int = 0, bias: bool = True
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, size, size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.scale = 1 / math.sqrt(in_channels * size * size)
        self.stride = stride
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, stride=self.stride, padding=self.padding)


class ScaledLeakyReLU(nn.Module):
    """leaky_relu(x, 0.2) * sqrt(2): keeps the variance of a unit-variance input."""

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, 0.2) * GAIN


def shrink(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Bilinear interpolation without antialiasing, as the release brings its pictures to 256 px. [B, 3, H, W]."""
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation, LeakyReLU(0.01): the "BasicConv" of SDIC, in 2D or 3D.

    `transposed` upsamples. Submodules: conv, norm, act.
    """

    def __init__(self, conv: nn.Module, out_channels: int, dims: int):
        norm = nn.BatchNorm2d(out_channels) if dims == 2 else nn.BatchNorm3d(out_channels)
        super().__init__(OrderedDict(conv=conv, norm=norm, act=nn.LeakyReLU(0.01, inplace=True)))


def conv2d_norm(i: int, o: int, size: int = 3, stride: int = 1) -> ConvNormAct:
    """2D convolution that keeps (or divides by `stride`) the size."""
    return ConvNormAct(nn.Conv2d(i, o, size, stride, size // 2, bias=False), o, 2)


def conv3d_norm(i: int, o: int, size: int | tuple[int, int, int] = 3, stride: int = 1) -> ConvNormAct:
    """3D convolution that keeps (or divides by `stride`) the size."""
    sizes = (size,) * 3 if isinstance(size, int) else size
    padding = (sizes[0] // 2, sizes[1] // 2, sizes[2] // 2)
    return ConvNormAct(nn.Conv3d(i, o, sizes, stride, padding, bias=False), o, 3)


def up2d_norm(i: int, o: int) -> ConvNormAct:
    """2D transposed convolution 4x4 that doubles the size."""
    return ConvNormAct(nn.ConvTranspose2d(i, o, 4, 2, 1, bias=False), o, 2)


def up3d_norm(i: int, o: int) -> ConvNormAct:
    """3D transposed convolution 4x4x4 that doubles the size."""
    return ConvNormAct(nn.ConvTranspose3d(i, o, 4, 2, 1, bias=False), o, 3)
