"""3D convolutions of DIPN's volumes, for training on a CPU: a 2D convolution over slices that lie in the channels.

A volume has few channels (1 to 48) and much depth, which is where oneDNN's 3D convolution is slow, above all with one
input channel, and where its half-precision weight gradient reads memory that nobody wrote (torch 2.15). As a 2D
convolution of the slices n-1, n, n+1 side by side in the channels, the same sum runs several times faster and may use
bf16. Measured, forward and backward, one core, volume [8, 1, 48, 64, 64]: 600 ms -> 137 (fp32) -> 54 (bf16).

Shapes: B batch, I and O channels, N depth, H and W height and width.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def conv3d_by_slices(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """`F.conv3d` with padding k // 2 along each axis: x [B, I, N, H, W], weight [O, I, d, k, k] -> [B, O, N', H', W'].

    The depth d is 1 or 3. The result lies channels last in memory.
    """
    slices = side_by_side(x, weight.shape[2], stride)
    flat = weight.permute(0, 2, 1, 3, 4).flatten(1, 2).contiguous(memory_format=torch.channels_last)
    y = F.conv2d(slices, flat, bias, stride, weight.shape[3] // 2)
    return y.unflatten(0, (len(x), -1)).transpose(1, 2)


def side_by_side(x: Tensor, taps: int, stride: int) -> Tensor:
    """[B, I, N, H, W] -> [B * N', taps * I, H, W]: with each slice its `taps` neighbours, zeros beyond the volume."""
    slices, depth, half = x.permute(0, 2, 3, 4, 1), x.shape[2], taps // 2
    if taps > 1:
        padded = F.pad(slices, (0, 0, 0, 0, 0, 0, half, half))
        slices = torch.cat([padded[:, tap : tap + depth : stride] for tap in range(taps)], 4)
    else:
        slices = slices[:, ::stride]
    return slices.flatten(0, 1).permute(0, 3, 1, 2)


class HalfConv3d(torch.autograd.Function):
    """`F.conv3d` with padding k // 2 in half precision, as `conv3d_by_slices` computes it, without its copies.

    oneDNN's 3D convolution and its gradient of the input are as fast as 2D ones from 8 channels on, and need no slices
    side by side. Only the weight's gradient is wrong there (above): that one is by slices.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        """x [B, I, N, H, W], weight [O, I, d, k, k] of one dtype -> [B, O, N', H', W'], channels last in memory."""
        x = x.contiguous(memory_format=torch.channels_last_3d)
        weight = weight.contiguous(memory_format=torch.channels_last_3d)
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv3d(x, weight, bias, stride, [size // 2 for size in weight.shape[2:]])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        """The gradients of x, weight and bias."""
        x, weight = ctx.saved_tensors
        y = gradients[0].contiguous(memory_format=torch.channels_last_3d)
        stride, wanted = ctx.stride, ctx.needs_input_grad
        to_x = to_weight = to_bias = None
        if wanted[0]:
            halves = [size // 2 for size in weight.shape[2:]]
            to_x = _gradients(y, x, weight, stride, halves, (True, False))[0]
        if wanted[1]:
            taps, size = weight.shape[2:4]
            slices = side_by_side(x, taps, stride)
            flat = weight.permute(0, 2, 1, 3, 4).flatten(1, 2)
            planes = y.transpose(1, 2).flatten(0, 1)
            found = _gradients(planes, slices, flat, stride, [size // 2] * 2, (False, True))[1]
            to_weight = found.unflatten(1, (taps, -1)).transpose(1, 2)
        if wanted[2]:
            to_bias = y.sum((0, 2, 3, 4))
        return to_x, to_weight, to_bias, None


def _gradients(
    y: Tensor, x: Tensor, weight: Tensor, stride: int, padding: list[int], wanted: tuple[bool, bool]
) -> tuple[Tensor, Tensor]:
    """Gradients of a convolution's input and weight, those that are wanted, from the gradient y of its output."""
    axes = len(padding)
    return torch.ops.aten.convolution_backward(
        y, x, weight, None, [stride] * axes, padding, [1] * axes, False, [0] * axes, 1, [*wanted, False]
    )[:2]


TAPS = ((3, 1, None), (None, 2, 0))
"""Along one axis of a transposed convolution 4, stride 2, padding 1: output 2i reads inputs i-1 and i with taps 3 and
1, output 2i+1 reads i and i+1 with taps 2 and 0. By phase: the tap for offsets -1, 0, +1."""


def phase_weight(weight: Tensor) -> Tensor:
    """Weight [I, 1, 4, 4, 4] of a transposed convolution to one channel -> [8, I, 3, 3, 3], one output a phase of the
    three axes; differentiable."""
    axis = weight.new_zeros(2, 3, 4)  # phase, offset, tap
    for phase, taps in enumerate(TAPS):
        for offset, tap in enumerate(taps):
            if tap is not None:
                axis[phase, offset, tap] = 1
    spread = torch.einsum("pax,qby,rcz,ixyz->pqriabc", axis, axis, axis, weight[:, 0])
    return spread.reshape(8, weight.shape[0], 3, 3, 3)


def interleave_phases(phases: Tensor) -> Tensor:
    """[B, 8, N, H, W] -> [B, 1, 2N, 2H, 2W]: every phase to its place."""
    batch, _, depth, height, width = phases.shape
    apart = phases.reshape(batch, 2, 2, 2, depth, height, width).permute(0, 4, 1, 5, 2, 6, 3)
    return apart.reshape(batch, 1, 2 * depth, 2 * height, 2 * width)
