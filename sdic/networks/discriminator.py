"""The StyleGAN2 discriminator (residual): image [B, 3, R, R] -> realness [B, 1]. For trainings alone."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.networks.layers import GAIN, EqualConv2d, EqualLinear
from sdic.networks.stylegan2 import GeneratorConfig
from sdic.ops import blur, downsample


class DiscriminatorConv(nn.Module):
    """Convolution without bias, optional halving of the size, bias, LeakyReLU(0.2) * sqrt(2)."""

    def __init__(self, in_channels: int, out_channels: int, size: int, *, halve: bool = False):
        super().__init__()
        padding = 0 if halve else size // 2
        self.conv = EqualConv2d(in_channels, out_channels, size, stride=2 if halve else 1, padding=padding, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.halve = halve

    def forward(self, x: Tensor) -> Tensor:
        if self.halve:  # the filter keeps the strided convolution from aliasing
            x = blur(x, (2, 2))
        return F.leaky_relu(self.conv(x) + self.bias[:, None, None], 0.2) * GAIN


class DiscriminatorBlock(nn.Module):
    """[B, I, H, W] -> [B, O, H/2, W/2]."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = DiscriminatorConv(in_channels, in_channels, 3)
        self.conv2 = DiscriminatorConv(in_channels, out_channels, 3, halve=True)
        self.skip = EqualConv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x)) + self.skip(downsample(x, (1, 1)))) / math.sqrt(2)


class Discriminator(nn.Module):
    """Sizes come from the generator's config. `group` images share one minibatch standard deviation."""

    def __init__(self, config: GeneratorConfig, group: int = 4):
        super().__init__()
        self.config = config
        self.group = group
        sizes = [config.resolution >> n for n in range(int(math.log2(config.resolution)) - 1)]  # R ... 4
        widths = [config.channels_at(size) for size in sizes]
        self.from_rgb = DiscriminatorConv(3, widths[0], 1)
        self.blocks = nn.ModuleList(DiscriminatorBlock(i, o) for i, o in pairwise(widths))
        self.final_conv = DiscriminatorConv(widths[-1] + 1, widths[-1], 3)
        self.final_linear = EqualLinear(widths[-1] * 16, widths[-1])
        self.output = EqualLinear(widths[-1], 1)

    def forward(self, image: Tensor) -> Tensor:
        x = self.from_rgb(image)
        for block in self.blocks:
            x = block(x)
        x = self.final_conv(torch.cat([x, self.minibatch_deviation(x)], 1))
        return self.output(F.leaky_relu(self.final_linear(x.flatten(1)), 0.2) * GAIN)

    def minibatch_deviation(self, x: Tensor) -> Tensor:
        """One map [B, 1, H, W] with the mean standard deviation over each group of images."""
        batch, _, height, width = x.shape
        group = next(size for size in range(min(batch, self.group), 0, -1) if batch % size == 0)
        members = x.reshape(group, batch // group, *x.shape[1:])
        deviation = (members.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3), keepdim=True)  # [B / group, 1, 1, 1]
        return deviation.repeat(group, 1, height, width)
