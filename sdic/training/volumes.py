"""DIPN's 3D convolutions as training on a CPU computes them (see sdic/ops/volume_conv.py); names and numbers stay."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdic.ops.volume_conv import conv3d_by_slices, interleave_phases, phase_weight


class SlicedConv3d(nn.Conv3d):
    """A 3D convolution by slices where that is faster: always in half precision, else with one input channel."""

    def forward(self, x: Tensor) -> Tensor:
        if self.in_channels > 1 and (x.is_meta or not torch.is_autocast_enabled(x.device.type)):
            return super().forward(x)
        return conv3d_by_slices(x, self.weight, self.bias, self.stride[0])


class PhasedConvTranspose3d(nn.ConvTranspose3d):
    """A transposed convolution 4x4x4 of stride 2 to one channel, as a convolution to its eight phases."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        bias = None if self.bias is None else self.bias.expand(8)
        return interleave_phases(conv3d_by_slices(x, phase_weight(self.weight), bias, 1))


def slice_volumes(network: nn.Module) -> None:
    """Let the 3D convolutions below `network` compute by slices, in place; parameters and their names stay.

    Convolutions of another form (padding other than half the kernel, dilation, groups) are left as they are.
    """
    for module in network.modules():
        if type(module) is nn.Conv3d and _by_slices(module):
            module.__class__ = SlicedConv3d
        elif type(module) is nn.ConvTranspose3d and _by_phases(module):
            module.__class__ = PhasedConvTranspose3d


def _by_slices(conv: nn.Conv3d) -> bool:
    depth, height, width = conv.kernel_size
    half = (depth // 2, height // 2, width // 2)
    return depth in (1, 3) and height == width and conv.padding == half and conv.groups == 1 and _plain(conv)


def _by_phases(conv: nn.ConvTranspose3d) -> bool:
    sizes = (conv.kernel_size, conv.stride, conv.padding, conv.output_padding)
    return conv.out_channels == 1 and sizes == ((4, 4, 4), (2, 2, 2), (1, 1, 1), (0, 0, 0))


def _plain(conv: nn.Conv3d) -> bool:
    return len(set(conv.stride)) == 1 and conv.dilation == (1, 1, 1) and conv.padding_mode == "zeros"
