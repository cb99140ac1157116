"""3x3 convolution of stride 1 by Winograd's F(4x4, 3x3): a quarter of the multiplications, for wide features on a CPU.

Every 4x4 tile of the output needs a 6x6 patch of the input. In the transformed domain a patch is 36 numbers a channel,
and the convolution is one matrix product over channels for each of the 36. Along one axis y = A^T [(G g) * (B^T d)]
(Lavin and Gray 2016). Rounding errors are some three times those of the direct sum.

Shapes: I and O input and output channels, H and W height and width, T the H/4 * W/4 tiles. One image at a time.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
MIN_CHANNELS = 256  # below, the transforms cost more than the products save (measured)
MIN_PIXELS = 16 * 16


def suits(in_channels: int, out_channels: int, height: int, width: int) -> bool:
    """Whether Winograd is faster for a 3x3 convolution of these sizes on a CPU."""
    wide = min(in_channels, out_channels) >= MIN_CHANNELS
    return wide and height % 4 == 0 and width % 4 == 0 and height * width >= MIN_PIXELS and max(height, width) <= 128


@cache
def _both_axes(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """The transform of both axes at once: [M, N] -> [M*M, N*N]."""
    square = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(square, square).float()


def transform_weight(weight: Tensor) -> Tensor:
    """[O, I, 3, 3] -> [36, I, O]. Four times the memory: for frozen weights only."""
    kernel = torch.tensor(KERNEL, dtype=torch.float64)
    transformed = torch.einsum("ak,oikl,bl->abio", kernel, weight.double(), kernel)
    return transformed.reshape(36, weight.shape[1], weight.shape[0]).float().contiguous()


def conv3x3(x: Tensor, transformed: Tensor) -> Tensor:
    """x [1, I, H, W], H and W multiples of 4, a transformed weight -> [1, O, H, W], zeros around it, channels last."""
    _, in_channels, height, width = x.shape
    out_channels = transformed.shape[2]
    down, across = height // 4, width // 4
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()  # [1, H + 2, W + 2, I]
    row = (width + 2) * in_channels
    patches = padded.as_strided((6, 6, down, across, in_channels), (row, in_channels, 4 * row, 4 * in_channels, 1))
    patches = patches.reshape(36, down * across * in_channels)
    patches = (_both_axes(INPUT) @ patches).view(36, down * across, in_channels)
    products = torch.bmm(patches, transformed).view(36, -1)  # [36, T * O]
    tiles = (_both_axes(OUTPUT) @ products).view(4, 4, down, across, out_channels)
    return tiles.permute(2, 0, 3, 1, 4).reshape(1, height, width, out_channels).permute(0, 3, 1, 2)
