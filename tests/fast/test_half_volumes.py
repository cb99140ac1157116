"""3D convolutions in half precision: their formula in float64, and their arithmetic in bf16, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sdic.fast.volume_conv import HalfConv3d
from sdic.fast.volumes import slice_volumes


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 5, 5), (1, 1, 1), (3, 1, 1)])
@pytest.mark.parametrize("size", [(6, 8, 10), (5, 7, 9)])
def test_value_and_gradients_are_those_of_conv3d(
    stride: int, kernel: tuple[int, int, int], size: tuple[int, int, int]
) -> None:
    x = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    wanted = F.conv3d(x, weight, bias, stride, tuple(k // 2 for k in kernel))
    found = HalfConv3d.apply(x, weight, bias, stride)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    outer = torch.randn_like(wanted)
    inputs = (x, weight, bias)
    for mine, theirs in zip(
        torch.autograd.grad(found, inputs, outer), torch.autograd.grad(wanted, inputs, outer), strict=True
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2])
def test_bf16_is_float32_to_its_rounding(stride: int) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv3d(16, 16, 3, stride, 1, bias=False)
    x = torch.randn(2, 16, 6, 16, 16, requires_grad=True)
    inputs = (x, conv.weight)
    wanted = conv(x)
    outer = torch.randn_like(wanted)
    exact = [wanted, *torch.autograd.grad(wanted, inputs, outer)]
    slice_volumes(torch.nn.Sequential(conv))
    with torch.autocast("cpu", torch.bfloat16):
        found = conv(x)
    assert found.dtype == torch.bfloat16
    rounded = [found, *torch.autograd.grad(found, inputs, outer.bfloat16())]
    for mine, theirs in zip(rounded, exact, strict=True):
        assert (mine.float() - theirs).norm() < 0.01 * theirs.norm()
