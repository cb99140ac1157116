"""Rearranging frozen networks for speed: the same numbers to float rounding, no longer for training or saving.

- Normalisation is folded into the convolution before it.
- Weights take the channels-last layout, and activations follow them.
- On a CPU, wide 3x3 convolutions go through Winograd's transform.
- The two layers of DIPN's hourglass that libraries compute badly (one input channel, one output channel) are replaced
  by equal ones that compute the same sums in another order (`fast.volumes`).
- StyleGAN2's synthesis computes by its fast form (`fast.synthesis`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sdic.fast import winograd
from sdic.fast.synthesis import accelerate
from sdic.fast.volumes import PhasedUpsampling, VolumeConv, VolumeEntry
from sdic.networks.dicn import FeatureFusion
from sdic.networks.dipn import DiscrepancyHourglass
from sdic.networks.irse import IRBlock, IRBody
from sdic.networks.layers import ConvNormAct
from sdic.networks.resnet import BasicBlock, ResNetBody


def optimize_for_inference(module: nn.Module, device: torch.device) -> nn.Module:
    """Rearrange every network below `module` in place and return it; it must be in eval mode, on any device."""
    accelerate(module)
    with torch.no_grad():
        for part in list(module.modules()):
            _fold_norms(part)
        for part in list(module.modules()):
            if device.type == "cpu":
                _replace_slow_layers(part)
        layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
        for tensor in [*module.parameters(), *module.buffers()]:
            # Copied in any case: tensors read from a file are views of it, and one of them would keep all of it mapped.
            layout = layouts.get(tensor.ndim, torch.contiguous_format)
            tensor.data = tensor.data.clone(memory_format=layout)
    return module.requires_grad_(False)


def _fold_norms(part: Any) -> None:
    """Fold the batch normalisations that follow a convolution of this layer."""
    if isinstance(part, ConvNormAct):
        _fold(part, "conv", "norm")
    elif isinstance(part, IRBody | ResNetBody):
        _fold(part.stem, "conv", "norm")
    elif isinstance(part, BasicBlock):
        _fold(part, "conv1", "norm1")
        _fold(part, "conv2", "norm2")
        if part.project is not None:
            _fold(part.project, "conv", "norm")
    elif isinstance(part, IRBlock):
        _fold(part, "conv2", "norm2")  # norm1 stays: its convolution pads with zeros after it
        if part.project is not None:
            _fold(part.project, "conv", "norm")


def _fold(part: Any, conv: str, norm: str) -> None:
    layer, after = getattr(part, conv), getattr(part, norm)
    if not isinstance(after, nn.Identity):
        transposed = isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d)
        setattr(part, conv, fuse_conv_bn_eval(layer, after, transpose=transposed))
        setattr(part, norm, nn.Identity())


def _replace_slow_layers(part: Any) -> None:
    """Replace layers by equal ones that are faster on a CPU."""
    if isinstance(part, DiscrepancyHourglass):
        first: Any = part.down[0]
        if isinstance(first[0], ConvNormAct):
            part.down[0] = nn.Sequential(VolumeEntry(first[0].conv, first[1].conv), *first[2:])  # type: ignore[arg-type]
        if isinstance(part.up_last, nn.ConvTranspose3d):
            part.up_last = PhasedUpsampling(part.up_last)  # type: ignore[assignment]
        for module in part.modules():
            if type(module) is nn.Conv3d:
                module.__class__ = VolumeConv
    elif isinstance(part, IRBody | ResNetBody):
        _replace_children(part.stem, nn.PReLU, FastPReLU)
    elif isinstance(part, IRBlock):
        _replace_children(part, nn.BatchNorm2d, Affine)
        _replace_children(part, nn.PReLU, FastPReLU)
    elif isinstance(part, FeatureFusion):
        for module in list(part.modules()):
            _replace_children(module, nn.Conv2d, lambda conv: WinogradConv2d(conv) if _is_wide(conv) else conv)


def _replace_children(part: nn.Module, kind: type[nn.Module], build: Callable[[Any], nn.Module]) -> None:
    for name, child in list(part.named_children()):
        if isinstance(child, kind):
            setattr(part, name, build(child))


def _is_wide(conv: nn.Conv2d) -> bool:
    """Whether Winograd is faster at the size that DICN works at."""
    plain = conv.stride == (1, 1) and conv.kernel_size == (3, 3)
    return plain and winograd.suits(conv.in_channels, conv.out_channels, 64, 64)


class Affine(nn.Module):
    """Batch normalisation with fixed statistics as what it is: x * scale + offset."""

    def __init__(self, norm: nn.BatchNorm2d):
        super().__init__()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        self.scale = nn.Parameter(scale[:, None, None])
        self.offset = nn.Parameter((norm.bias - norm.running_mean * scale)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(self.offset, x, self.scale)


class FastPReLU(nn.Module):
    """PReLU in place: max(x, 0) + slope * min(x, 0), faster than torch's kernel on channels-last features."""

    def __init__(self, act: nn.PReLU):
        super().__init__()
        self.slope = nn.Parameter(act.weight[:, None, None].clone())

    def forward(self, x: Tensor) -> Tensor:
        below = x.clamp_max(0)
        return x.clamp_min_(0).addcmul_(below, self.slope)


class WinogradConv2d(nn.Module):
    """A 3x3 convolution of stride 1 by `fast.winograd` where the size of the picture allows it."""

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        self.conv = conv
        self.transformed = nn.Parameter(winograd.transform_weight(conv.weight))

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        suited = winograd.suits(conv.in_channels, conv.out_channels, *x.shape[2:])
        if not suited or len(x) > 1 or x.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type):
            return conv(x)
        y = winograd.conv3x3(x, self.transformed)
        return y if conv.bias is None else y.add_(conv.bias[:, None, None])
