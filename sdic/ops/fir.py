"""StyleGAN2's [1, 3, 3, 1] filter: blurring, and resampling by two without aliasing.

Shapes: B batch, C channels, H and W height and width. Images and features are [B, C, H, W].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.ops.backend import is_reference

TAPS = (1.0, 3.0, 3.0, 1.0)


def fir_kernel(gain: float, like: Tensor) -> Tensor:
    """The separable 4x4 filter [1,3,3,1] x [1,3,3,1], summing to `gain`, on the device and of the dtype of `like`."""
    taps = torch.tensor(TAPS, device=like.device, dtype=like.dtype)
    kernel = torch.outer(taps, taps)
    return kernel * (gain / kernel.sum())


def upfirdn2d_reference(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Reference: insert `up - 1` zeros after every pixel, pad by (before, after), filter, keep one pixel in `down`."""
    batch, channels, height, width = x.shape
    stuffed = x.new_zeros(batch, channels, height, up, width, up)
    stuffed[:, :, :, 0, :, 0] = x
    stuffed = stuffed.reshape(batch, channels, height * up, width * up)
    padded = F.pad(stuffed, (pad[0], pad[1], pad[0], pad[1]))
    flat = padded.reshape(batch * channels, 1, *padded.shape[2:])
    filtered = F.conv2d(flat, kernel.flip(0, 1)[None, None])
    filtered = filtered.reshape(batch, channels, *filtered.shape[2:])
    return filtered[:, :, ::down, ::down]


def blur(
    x: Tensor, pad: tuple[int, int], gain: float = 1.0, bias: Tensor | None = None, rows_padded: bool = False
) -> Tensor:
    """Filter every channel: [B, C, H, W] -> [B, C, H + sum(pad) - 3, W + sum(pad) - 3].

    `bias` [C] is added to the result (it rides along in the convolution for free). `rows_padded` says that the
    caller has padded the rows already, as computing in strips does; then only columns are padded.
    """
    channels = x.shape[1]
    if is_reference():
        out = upfirdn2d_reference(x, fir_kernel(gain, x), pad=pad)
        return out if bias is None else out + bias[:, None, None]
    weight = fir_kernel(gain, x).expand(channels, 1, -1, -1)  # the filter is symmetric: no flip needed
    if pad[0] == pad[1]:
        padding = (0 if rows_padded else pad[0], pad[0])
        return F.conv2d(x, weight, bias, padding=padding, groups=channels)
    rows = (0, 0) if rows_padded else pad
    return F.conv2d(F.pad(x, (*pad, *rows)), weight, bias, groups=channels)


def upsample_rgb(rgb: Tensor) -> Tensor:
    """Bring the accumulated RGB [B, 3, H, W] to [B, 3, 2H, 2W] (zeros beyond the border).

    With taps [1,3,3,1] this is bilinear interpolation except at the border, where the filter meets zeros: so
    interpolate a zero-padded picture and cut the frame off.
    """
    if is_reference():
        return upfirdn2d_reference(rgb, fir_kernel(4.0, rgb), up=2, pad=(2, 1))
    framed = F.interpolate(F.pad(rgb, (1, 1, 1, 1)), scale_factor=2, mode="bilinear", align_corners=False)
    return framed[:, :, 2:-2, 2:-2]


def downsample(x: Tensor, pad: tuple[int, int]) -> Tensor:
    """Filter, then keep every second pixel: the skip path of the discriminator."""
    if is_reference():
        return upfirdn2d_reference(x, fir_kernel(1.0, x), down=2, pad=pad)
    channels = x.shape[1]
    weight = fir_kernel(1.0, x).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(x, (*pad, *pad)), weight, stride=2, groups=channels)
