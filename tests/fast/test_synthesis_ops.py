"""The parts of a fast synthesis against the plain styled convolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sdic.fast import strips as strips_module
from sdic.fast import winograd
from sdic.fast.folding import FrozenWeights, fold, styled_conv_of_one
from sdic.fast.strips import FoldedBlock, block_in_strips, last_block_subsampled
from sdic.ops import StyledConvWeights, styled_conv_reference
from tests.ops.test_ops import close, weights


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("wide", [False, True], ids=["folded", "winograd"])
def test_a_folded_convolution_is_a_styled_one(upsample: bool, wide: bool) -> None:
    """With noise, without, and with something between convolution and noise; for one weight and for a batch of one."""
    x, style, w = torch.randn(1, 6, 8, 8), torch.randn(1, 6) + 1, weights(5, 6)
    transformed = winograd.transform_weight(w.weight) if wide and not upsample else None
    frozen = FrozenWeights(w.weight, w.weight.square().sum((2, 3)), w.bias, transformed)
    noise, before = torch.randn(1, 1, *[16 if upsample else 8] * 2), x.clone()
    with torch.no_grad():
        for options in ((noise, upsample), (None, upsample), (noise, upsample, torch.sin)):
            expected = styled_conv_reference(x, style, w, *options)
            close(styled_conv_of_one(x, style, frozen, *options), expected, 1e-4)
            own = StyledConvWeights(w.weight[None], None, w.bias)
            close(styled_conv_of_one(x, style, own, *options), expected, 1e-4)
    assert torch.equal(x, before)


@pytest.mark.parametrize("size", [(16, 16), (20, 36)])
def test_winograd_is_a_convolution(size: tuple[int, int]) -> None:
    x, w = torch.randn(1, 24, *size), torch.randn(16, 24, 3, 3)
    expected = F.conv2d(x.double(), w.double(), padding=1).float()
    close(winograd.conv3x3(x, winograd.transform_weight(w)), expected, 1e-4)


def test_winograd_is_chosen_only_where_tiles_fit() -> None:
    assert winograd.suits(512, 512, 64, 64)
    assert not winograd.suits(512, 512, 66, 64)
    assert not winograd.suits(128, 512, 64, 64)


@pytest.mark.parametrize("rows", [4, 8, 12, 64])
def test_strips_equal_the_whole_block(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    """Whatever the height of a strip, and whether or not it divides the picture."""
    monkeypatch.setattr(strips_module, "strip_rows", lambda width, channels: rows)
    x, rgb = torch.randn(1, 6, 20, 20), torch.randn(3, 5, 1, 1)
    up, conv = weights(5, 6), weights(5, 5)
    style_up, style = torch.randn(1, 6) + 1, torch.randn(1, 5) + 1
    noises = torch.randn(1, 1, 40, 40), torch.randn(1, 1, 40, 40)
    feature = styled_conv_reference(x, style_up, up, noises[0], True)
    feature = styled_conv_reference(feature, style, conv, noises[1], False)
    with torch.no_grad():
        block = FoldedBlock(fold(style_up, up), fold(style, conv), *noises, rgb)
        got, got_rgb = block_in_strips(x, block)
        assert got is not None
        close(got, feature)
        close(got_rgb, F.conv2d(feature, rgb))
        assert block_in_strips(x, block, keep_feature=False)[0] is None


@pytest.mark.parametrize("factor", [4, 8])
@pytest.mark.parametrize("rows", [8, 64])
def test_subsampled_block_reads_the_right_pixels(monkeypatch: pytest.MonkeyPatch, factor: int, rows: int) -> None:
    monkeypatch.setattr(strips_module, "strip_rows", lambda width, channels: rows)
    x, rgb = torch.randn(1, 6, 16, 16), torch.randn(3, 5, 1, 1)
    up, conv = weights(5, 6), weights(5, 5)
    style_up, style = torch.randn(1, 6) + 1, torch.randn(1, 5) + 1
    noises = torch.randn(1, 1, 32, 32), torch.randn(1, 1, 32, 32)
    feature = styled_conv_reference(x, style_up, up, noises[0], True)
    whole = F.conv2d(styled_conv_reference(feature, style, conv, noises[1], False), rgb)
    expected = F.interpolate(whole, size=(32 // factor, 32 // factor), mode="bilinear", align_corners=False)
    with torch.no_grad():
        taps = last_block_subsampled(x, FoldedBlock(fold(style_up, up), fold(style, conv), *noises, rgb), factor)
    close(taps.mean((2, 3)), expected)
