"""StyleGAN2's styled convolution: modulated convolution, optional upsampling, noise, bias, leaky ReLU.

Shapes: B batch, I and O input and output channels, k kernel size, H and W height and width.

Three ways to compute the same numbers:

- `styled_conv_reference`: one grouped convolution with a weight per image, as the equation is written.
- the differentiable way: modulation scales the input and demodulation the output, so that all images share one
  weight and the convolution is an ordinary one. Used for training and for batches.
- the folded way, for one image without gradients: style, demodulation and the gain of the activation are folded into
  the weight, and nothing but the convolution, the noise and the activation passes over the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.ops import winograd
from sdic.ops.backend import is_reference
from sdic.ops.fir import blur, fir_kernel, upfirdn2d_reference

SLOPE = 0.2
GAIN = math.sqrt(2.0)
EPSILON = 1e-8
CHANNELS_LAST = torch.channels_last


@dataclass(frozen=True)
class StyledConvWeights:
    """The learned tensors of one styled convolution, scaled for use.

    weight: [O, I, k, k], already multiplied by its equalized learning-rate scale.
    squares: [O, I], the sum of `weight` squared over the kernel, or None to compute it when it is needed.
    bias: [O].
    winograd: [36, I, O], the transformed weight of a frozen wide layer, or None.
    """

    weight: Tensor
    squares: Tensor | None
    bias: Tensor
    winograd: Tensor | None = None

    def demodulation(self, style: Tensor) -> Tensor:
        """[B, I] -> [B, O]: one over the norm of each modulated filter."""
        squares = self.weight.square().sum((2, 3)) if self.squares is None else self.squares
        return torch.rsqrt(style.square() @ squares.t() + EPSILON)


def styled_conv(x: Tensor, style: Tensor, weights: StyledConvWeights, noise: Tensor | None, upsample: bool) -> Tensor:
    """leaky_relu(conv(x) + noise + bias) * sqrt(2), the convolution modulated and demodulated by `style`.

    x [B, I, H, W]; style [B, I]; noise None or [1 or B, 1, H', W'], already multiplied by its strength;
    returns [B, O, H', W'] with H' = 2H where `upsample`, else H.
    """
    if is_reference():
        return styled_conv_reference(x, style, weights, noise, upsample)
    if x.shape[0] == 1 and not torch.is_grad_enabled():
        if weights.winograd is not None and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu"):
            y = winograd.conv3x3(x * style[:, :, None, None], weights.winograd)
            scale = (weights.demodulation(style)[0] * GAIN)[:, None, None]
            y = torch.addcmul((weights.bias * GAIN)[:, None, None], y, scale)
            return add_noise_and_activate_(y, noise)
        return folded_conv(x, fold(style, weights), noise, upsample)
    x = x.contiguous(memory_format=CHANNELS_LAST) if x.device.type == "cpu" else x
    scaled = x * style[:, :, None, None]
    if upsample:
        y = F.conv_transpose2d(scaled, weights.weight.transpose(0, 1), stride=2)
        y = blur(y, (1, 1), gain=4.0)
    else:
        y = F.conv2d(scaled, weights.weight, padding=weights.weight.shape[-1] // 2)
    y = y * weights.demodulation(style)[:, :, None, None] + weights.bias[:, None, None]
    if noise is not None:
        y = y + noise
    return F.leaky_relu(y, SLOPE) * GAIN


@dataclass(frozen=True)
class FoldedConv:
    """A styled convolution for one image: weight [O, I, k, k] and bias [O] with style, demodulation and gain in
    them."""

    weight: Tensor
    bias: Tensor


def fold(style: Tensor, weights: StyledConvWeights) -> FoldedConv:
    """Fold the style [1, I], its demodulation and the gain of the activation into the weight.

    The leaky ReLU is positively homogeneous, so its gain may be applied before it.
    """
    out_scale = weights.demodulation(style)[0] * GAIN
    weight = weights.weight * style[0][None, :, None, None] * out_scale[:, None, None, None]
    return FoldedConv(weight.contiguous(memory_format=CHANNELS_LAST), weights.bias * GAIN)


def folded_conv(x: Tensor, conv: FoldedConv, noise: Tensor | None, upsample: bool) -> Tensor:
    """The styled convolution of one image [1, I, H, W]; no gradients (it works in place)."""
    x = x.contiguous(memory_format=CHANNELS_LAST)
    if upsample:
        y = blur(F.conv_transpose2d(x, conv.weight.transpose(0, 1), stride=2), (1, 1), gain=4.0, bias=conv.bias)
    else:
        y = F.conv2d(x, conv.weight, conv.bias, padding=conv.weight.shape[-1] // 2)
    return add_noise_and_activate_(y, noise)


def add_noise_and_activate_(y: Tensor, noise: Tensor | None) -> Tensor:
    """In place: leaky_relu(y + sqrt(2) * noise), where y carries the gain already."""
    if noise is not None:
        y.add_(noise, alpha=GAIN)
    return F.leaky_relu_(y, SLOPE)


def styled_conv_reference(
    x: Tensor, style: Tensor, weights: StyledConvWeights, noise: Tensor | None, upsample: bool
) -> Tensor:
    """Reference for `styled_conv`: a weight per image, grouped convolution, zero-stuffing filter, contiguous NCHW."""
    batch, in_channels, height, width = x.shape
    out_channels, _, size, _ = weights.weight.shape
    per_image = weights.weight[None] * style[:, None, :, None, None]  # [B, O, I, k, k]
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
    if noise is not None:
        y = y + noise
    return F.leaky_relu(y + weights.bias[:, None, None], SLOPE) * GAIN
