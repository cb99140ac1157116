"""StyleGAN2's styled convolution: modulated convolution, optional upsampling, noise, bias, leaky ReLU.

Shapes: B batch, I and O input and output channels, k kernel size, H and W height and width.

`styled_conv_reference` is one grouped convolution with a weight per image, as the equation is written. `styled_conv`
computes the same numbers otherwise: modulation scales the input and demodulation the output, so that all images share
one weight and the convolution is an ordinary one. Both are differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.ops.backend import is_reference
from sdic.ops.fir import blur, fir_kernel, upfirdn2d_reference

SLOPE = 0.2
GAIN = math.sqrt(2.0)
EPSILON = 1e-8
CHANNELS_LAST = torch.channels_last

Convolved = Callable[[Tensor], Tensor]
"""What becomes of the demodulated convolution's output [B, O, H', W'] before noise, bias and activation."""


@dataclass(frozen=True)
class StyledConvWeights:
    """The learned tensors of one styled convolution, scaled for use.

    weight: [O, I, k, k], already multiplied by its equalized learning-rate scale; [B, O, I, k, k] where every image
    has its own.
    squares: [O, I], the sum of `weight` squared over the kernel, or None to compute it when it is needed.
    bias: [O].
    """

    weight: Tensor
    squares: Tensor | None
    bias: Tensor

    def demodulation(self, style: Tensor) -> Tensor:
        """[B, I] -> [B, O]: one over the norm of each modulated filter."""
        squares = self.weight.square().sum((-2, -1)) if self.squares is None else self.squares
        if squares.ndim == 3:
            norms = (squares @ style.square()[:, :, None])[:, :, 0]
        else:
            norms = style.square() @ squares.t()
        return torch.rsqrt(norms + EPSILON)


def styled_conv(
    x: Tensor,
    style: Tensor,
    weights: StyledConvWeights,
    noise: Tensor | None,
    upsample: bool,
    convolved: Convolved | None = None,
) -> Tensor:
    """leaky_relu(convolved(conv(x)) + noise + bias) * sqrt(2), the convolution modulated and demodulated by `style`.

    x [B, I, H, W]; style [B, I]; noise None or [1 or B, 1, H', W'], already multiplied by its strength;
    returns [B, O, H', W'] with H' = 2H where `upsample`, else H.
    """
    if is_reference():
        return styled_conv_reference(x, style, weights, noise, upsample, convolved)
    x = x.contiguous(memory_format=CHANNELS_LAST) if x.device.type == "cpu" else x
    y = _conv(x * style[:, :, None, None], weights.weight, upsample)
    if upsample:
        y = blur(y, (1, 1), gain=4.0)
    scale, bias = weights.demodulation(style)[:, :, None, None], weights.bias[:, None, None]
    y = y * scale + bias if convolved is None else convolved(y * scale) + bias
    if noise is not None:
        y = y + noise
    return F.leaky_relu(y, SLOPE) * GAIN


def _conv(x: Tensor, weight: Tensor, upsample: bool) -> Tensor:
    """The convolution by itself; image by image where every image has its own weight."""
    if weight.ndim == 5:
        return torch.cat([_conv(part, own, upsample) for part, own in zip(x.split(1), weight, strict=True)])
    if upsample:
        return F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    return F.conv2d(x, weight, padding=weight.shape[-1] // 2)


def styled_conv_reference(
    x: Tensor,
    style: Tensor,
    weights: StyledConvWeights,
    noise: Tensor | None,
    upsample: bool,
    convolved: Convolved | None = None,
) -> Tensor:
    """Reference for `styled_conv`: a weight per image, grouped convolution, zero-stuffing filter, contiguous NCHW."""
    batch, in_channels, height, width = x.shape
    out_channels, _, size, _ = weights.weight.shape[-4:]
    per_image = weights.weight * style[:, None, :, None, None]  # [B, O, I, k, k]
    demodulation = torch.rsqrt(per_image.square().sum((2, 3, 4)) + EPSILON)
    per_image = per_image * demodulation[:, :, None, None, None]
    flat = x.contiguous().reshape(1, batch * in_channels, height, width)
    if upsample:
        grouped = per_image.transpose(1, 2).reshape(batch * in_channels, out_channels, size, size)
        y = F.conv_transpose2d(flat, grouped, stride=2, groups=batch)
        y = y.reshape(batch, out_channels, *y.shape[2:])
        y = upfirdn2d_reference(y, fir_kernel(4.0, y), pad=(1, 1))
    else:
        grouped = per_image.reshape(batch * out_channels, in_channels, size, size)
        y = F.conv2d(flat, grouped, padding=size // 2, groups=batch)
        y = y.reshape(batch, out_channels, *y.shape[2:])
    if convolved is not None:
        y = convolved(y)
    if noise is not None:
        y = y + noise
    return F.leaky_relu(y + weights.bias[:, None, None], SLOPE) * GAIN
