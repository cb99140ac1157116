"""3D convolutions of DIPN's volumes, for training on a CPU: a 2D convolution over slices that lie in the channels.

A volume has few channels (1 to 48) and much depth, which is where oneDNN's 3D convolution is slow, above all with one
input channel, and where its half-precision weight gradient reads memory that nobody wrote (torch 2.15). As a 2D
convolution of the slices n-1, n, n+1 side by side in the channels, the same sum runs several times faster and may use
bf16. Measured, forward and backward, one core, volume [8, 1, 48, 64, 64]: 600 ms -> 137 (fp32) -> 54 (bf16).

Shapes: B batch, I and O channels, N depth, H and W height and width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def conv3d_by_slices(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
    """`F.conv3d` with padding k // 2 along each axis: x [B, I, N, H, W], weight [O, I, d, k, k] -> [B, O, N', H', W'].

    The depth d is 1 or 3. The result lies channels last in memory.
    """
    batch, _, depth, _, _ = x.shape
    taps, size = weight.shape[2], weight.shape[3]
    slices = x.permute(0, 2, 3, 4, 1)  # [B, N, H, W, I]
    if taps == 3:
        padded = F.pad(slices, (0, 0, 0, 0, 0, 0, 1, 1))
        slices = torch.cat([padded[:, tap : tap + depth : stride] for tap in range(3)], 4)
    else:
        slices = slices[:, ::stride]
    flat = weight.permute(0, 2, 1, 3, 4).flatten(1, 2).contiguous(memory_format=torch.channels_last)
    y = F.conv2d(slices.flatten(0, 1).permute(0, 3, 1, 2), flat, bias, stride, size // 2)
    return y.unflatten(0, (batch, slices.shape[1])).transpose(1, 2)


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
