"""The styled convolution of one image without gradients: style, demodulation and the gain of the activation are folded
into the weight, and nothing but the convolution, the noise and the activation passes over the picture.

Shapes: I and O input and output channels, k kernel size, H and W height and width. The reference of everything here is
`ops.styled_conv_reference`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.fast import winograd
from sdic.ops.fir import blur
from sdic.ops.modulated_conv import CHANNELS_LAST, GAIN, SLOPE, Convolved, StyledConvWeights


@dataclass(frozen=True)
class FrozenWeights(StyledConvWeights):
    """The tensors of a styled convolution that does not train.

    winograd: [36, I, O], the transformed weight of a wide layer on a CPU, or None.
    """

    winograd: Tensor | None = None


@dataclass(frozen=True)
class FoldedConv:
    """A styled convolution for one image: weight [O, I, k, k] and bias [O] that hold style, demodulation and gain."""

    weight: Tensor
    bias: Tensor


def fold(style: Tensor, weights: StyledConvWeights) -> FoldedConv:
    """Fold the style [1, I], its demodulation and the gain of the activation into the weight.

    The leaky ReLU is positively homogeneous, so its gain may be applied before it.
    """
    out_scale = weights.demodulation(style)[0] * GAIN
    own = weights.weight[0] if weights.weight.ndim == 5 else weights.weight
    weight = own * style[0][None, :, None, None] * out_scale[:, None, None, None]
    return FoldedConv(weight.contiguous(memory_format=CHANNELS_LAST), weights.bias * GAIN)


def styled_conv_of_one(
    x: Tensor,
    style: Tensor,
    weights: StyledConvWeights,
    noise: Tensor | None,
    upsample: bool,
    convolved: Convolved | None = None,
) -> Tensor:
    """`styled_conv` of one image [1, I, H, W]; no gradients (it works in place)."""
    transformed = weights.winograd if isinstance(weights, FrozenWeights) and convolved is None else None
    if transformed is None or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return folded_conv(x, fold(style, weights), noise, upsample, convolved)
    y = winograd.conv3x3(x * style[:, :, None, None], transformed)
    scale = (weights.demodulation(style)[0] * GAIN)[:, None, None]
    y = torch.addcmul((weights.bias * GAIN)[:, None, None], y, scale)
    return add_noise_and_activate_(y, noise)


def folded_conv(
    x: Tensor, conv: FoldedConv, noise: Tensor | None, upsample: bool, convolved: Convolved | None = None
) -> Tensor:
    """The styled convolution of one image [1, I, H, W]; no gradients (it works in place)."""
    x = x.contiguous(memory_format=CHANNELS_LAST)
    bias = conv.bias if convolved is None else None
    if upsample:
        y = blur(F.conv_transpose2d(x, conv.weight.transpose(0, 1), stride=2), (1, 1), gain=4.0, bias=bias)
    else:
        y = F.conv2d(x, conv.weight, bias, padding=conv.weight.shape[-1] // 2)
    if convolved is not None:  # it gets the numbers that carry no gain
        y = convolved(y / GAIN) * GAIN + conv.bias[:, None, None]
    return add_noise_and_activate_(y, noise)


def add_noise_and_activate_(y: Tensor, noise: Tensor | None) -> Tensor:
    """In place: leaky_relu(y + sqrt(2) * noise), where y carries the gain already."""
    if noise is not None:
        y.add_(noise, alpha=GAIN)
    return F.leaky_relu_(y, SLOPE)
