"""3D convolutions by slices against torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from sdic.fast.volume_conv import conv3d_by_slices, interleave_phases, phase_weight
from sdic.fast.volumes import PhasedConvTranspose3d, SlicedConv3d, slice_volumes
from sdic.networks.dipn import DIPN, DIPNConfig


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3, 3), (1, 5, 5), (1, 1, 1)])
@pytest.mark.parametrize("size", [(6, 8, 10), (5, 7, 9)])
def test_slices_are_a_3d_convolution(stride: int, kernel: tuple[int, int, int], size: tuple[int, int, int]) -> None:
    x = torch.randn(2, 4, *size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(5, 4, *kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64)
    wanted = F.conv3d(x, weight, bias, stride, tuple(k // 2 for k in kernel))
    found = conv3d_by_slices(x, weight, bias, stride)
    torch.testing.assert_close(found, wanted)
    outer = torch.randn_like(wanted)
    for mine, theirs in zip(
        torch.autograd.grad(found, (x, weight), outer), torch.autograd.grad(wanted, (x, weight), outer), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_phases_are_a_transposed_convolution() -> None:
    x = torch.randn(2, 4, 3, 4, 5, dtype=torch.float64)
    weight = torch.randn(4, 1, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    wanted = F.conv_transpose3d(x, weight, None, 2, 1)
    found = interleave_phases(conv3d_by_slices(x, phase_weight(weight), None, 1))
    torch.testing.assert_close(found, wanted)
    outer = torch.randn_like(wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found, weight, outer)[0], torch.autograd.grad(wanted, weight, outer)[0]
    )


@pytest.mark.parametrize("preset", ["released", "paper"])
def test_a_sliced_dipn_is_the_same_network(preset: str) -> None:
    plain = DIPN(DIPNConfig(preset)).double().eval()  # type: ignore[arg-type]
    sliced = copy.deepcopy(plain)
    slice_volumes(sliced)
    kinds = {type(module) for module in sliced.modules()}
    assert PhasedConvTranspose3d in kinds
    assert SlicedConv3d in kinds
    assert sliced.state_dict().keys() == plain.state_dict().keys()
    photo, initial = torch.randn(2, 1, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(sliced(photo, initial), plain(photo, initial))


def test_other_convolutions_are_left_alone() -> None:
    network = torch.nn.Sequential(torch.nn.Conv3d(2, 2, 3), torch.nn.Conv3d(2, 2, 3, padding=1, groups=2))
    slice_volumes(network)
    assert {type(module) for module in network} == {torch.nn.Conv3d}
