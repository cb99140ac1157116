"""The large blocks of the generator, computed in strips of rows that stay in the processor's cache.

At 512 and 1024 px one feature takes 128 MB: every pass over it goes through main memory, and every temporary is fresh
memory that the system has to clear first. In strips of some 8 MB the passes stay in cache and the memory is reused.
The price is two rows computed twice at each seam. One image, no gradients; the reference is the plain sequence of
`styled_conv`, `styled_conv`, 1x1 convolution.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from sdic.fast.folding import FoldedConv, add_noise_and_activate_
from sdic.ops.fir import blur
from sdic.ops.modulated_conv import CHANNELS_LAST

STRIP_BYTES = 8 << 20  # measured best on a machine with 1 MB of L2 and 32 MB of L3 cache


def strip_rows(width: int, channels: int) -> int:
    """Rows of [channels, rows, width] float32 that make one strip; a multiple of 4."""
    return max(4, STRIP_BYTES // (4 * width * channels) // 4 * 4)


class FoldedBlock(NamedTuple):
    """One resolution of a generator for one image: x [1, I, H, W] -> feature [1, O, 2H, 2W] and RGB [1, 3, 2H, 2W].

    up, conv: the upsampling convolution I -> O and the convolution O -> O.
    noise_up, noise: [1, 1, 2H, 2W] or None.
    rgb_weight: [3, O, 1, 1] with its style in it.
    """

    up: FoldedConv
    conv: FoldedConv
    noise_up: Tensor | None
    noise: Tensor | None
    rgb_weight: Tensor


def block_in_strips(x: Tensor, block: FoldedBlock, keep_feature: bool = True) -> tuple[Tensor | None, Tensor]:
    """(feature, RGB) of a block. The feature is None unless `keep_feature` (the last block needs only the RGB)."""
    up, conv, noise_up, noise, rgb_weight = block
    x = x.contiguous(memory_format=CHANNELS_LAST)
    height, width = 2 * x.shape[2], 2 * x.shape[3]
    channels = conv.weight.shape[0]
    rows = strip_rows(width, channels)
    feature = None
    if keep_feature:
        feature = x.new_empty(1, channels, height, width).contiguous(memory_format=CHANNELS_LAST)
    rgb = x.new_empty(1, 3, height, width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        y = upsampled_rows(x, up, noise_up, max(0, top - 1), min(height, bottom + 1))
        y = F.pad(y, (0, 0, int(top == 0), int(bottom == height)))  # zeros only beyond the picture
        y = F.conv2d(y, conv.weight, conv.bias, padding=(0, 1))
        y = add_noise_and_activate_(y, None if noise is None else noise[:, :, top:bottom])
        if feature is not None:
            feature[:, :, top:bottom] = y
        rgb[:, :, top:bottom] = F.conv2d(y, rgb_weight)
    return feature, rgb


def upsampled_rows(x: Tensor, up: FoldedConv, noise: Tensor | None, top: int, bottom: int) -> Tensor:
    """Rows [top, bottom) of `folded_conv(x, up, noise, upsample=True)`, from the input rows that reach them."""
    height = x.shape[2]
    # Row j of the result filters rows j-1 .. j+2 of the transposed convolution, which has rows 0 .. 2*height;
    # row t of that reads input rows ceil((t-2)/2) .. floor(t/2).
    first, last = max(0, top - 1), min(2 * height + 1, bottom + 2)
    low, high = max(0, (first - 1) // 2), min(height, (last - 1) // 2 + 1)
    y = F.conv_transpose2d(x[:, :, low:high], up.weight.transpose(0, 1), stride=2)
    y = y[:, :, first - 2 * low : last - 2 * low]
    y = F.pad(y, (0, 0, first - (top - 1), bottom + 2 - last))
    y = blur(y, (1, 1), gain=4.0, bias=up.bias, rows_padded=True)
    return add_noise_and_activate_(y, None if noise is None else noise[:, :, top:bottom])


def last_block_subsampled(x: Tensor, block: FoldedBlock, factor: int) -> Tensor:
    """The RGB of the last block at the only pixels that bilinear shrinking by `factor` reads.

    Bilinear shrinking by an even factor f without antialiasing averages the 2x2 pixels in the middle of every f x f
    tile: rows (and columns) f*i + f/2 - 1 and f*i + f/2. A 3x3 convolution at those four reads a 4x4 patch, so one
    4x4 convolution of stride f with four times the outputs gives them all. f >= 4.

    x [1, I, H, W] -> [1, 3, 2, 2, 2H/f, 2W/f]: the RGB at (row, column) in {0, 1} x {0, 1} of each 2x2.
    """
    up, conv, noise_up, noise, rgb_weight = block
    x = x.contiguous(memory_format=CHANNELS_LAST)
    height, width = 2 * x.shape[2], 2 * x.shape[3]
    channels, in_channels = conv.weight.shape[:2]
    patch = conv.weight.new_zeros(2, 2, channels, in_channels, 4, 4)
    for i in (0, 1):
        for j in (0, 1):
            patch[i, j, :, :, i : i + 3, j : j + 3] = conv.weight
    patch = patch.reshape(4 * channels, in_channels, 4, 4).contiguous(memory_format=CHANNELS_LAST)
    offset = factor // 2 - 2
    small = (height // factor, width // factor)
    taps = None
    if noise is not None:
        tiles = noise.reshape(1, small[0], factor, small[1], factor)
        taps = tiles[:, :, offset + 1 : offset + 3, :, offset + 1 : offset + 3].permute(0, 2, 4, 1, 3)[:, :, :, None]
    rgb = x.new_empty(2, 2, 3, *small)
    rows = max(factor, strip_rows(width, up.weight.shape[0]) // factor * factor)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        part = slice(top // factor, bottom // factor)
        y = upsampled_rows(x, up, noise_up, top, bottom)[:, :, offset:, offset:]
        y = F.conv2d(y, patch, conv.bias.repeat(4), stride=factor)
        y = y.reshape(2, 2, channels, *y.shape[2:])
        y = add_noise_and_activate_(y, None if taps is None else taps[0, :, :, :, part])
        rgb[:, :, :, part] = F.conv2d(y.flatten(0, 1), rgb_weight).unflatten(0, (2, 2))
    return rgb.permute(2, 0, 1, 3, 4)[None]
