"""Every fast operation against its plain reference."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sdic.ops import (
    StyledConvWeights,
    blur,
    downsample,
    is_reference,
    styled_conv,
    styled_conv_reference,
    upsample_rgb,
    use_reference,
    winograd,
)
from sdic.ops import strips as strips_module
from sdic.ops.modulated_conv import fold
from sdic.ops.strips import FoldedBlock, block_in_strips, last_block_subsampled


def close(got: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert got.shape == expected.shape
    assert ((got - expected).abs().max() / expected.std()).item() < tolerance


def weights(out_channels: int, in_channels: int) -> StyledConvWeights:
    return StyledConvWeights(torch.randn(out_channels, in_channels, 3, 3) / 9, None, torch.randn(out_channels))


@pytest.mark.parametrize("size", [4, 7, 16])
def test_filters_match_zero_stuffing(size: int) -> None:
    x = torch.randn(2, 3, size, size)
    for run in (
        lambda: upsample_rgb(x),
        lambda: blur(x, (1, 1), gain=4.0, bias=torch.arange(3.0)),
        lambda: blur(x, (2, 1)),
        lambda: blur(x, (2, 2)),
        lambda: downsample(x, (1, 1)),
    ):
        with use_reference():
            expected = run()
        close(run(), expected)


def test_upsampling_keeps_a_constant_inside() -> None:
    up = upsample_rgb(torch.ones(1, 3, 8, 8))
    torch.testing.assert_close(up[:, :, 2:-2, 2:-2], torch.ones(1, 3, 12, 12))
    assert up[0, 0, 0, 0] < 1  # beyond the border the filter sees zeros


def test_switch_is_restored_after_an_error() -> None:
    def fail() -> None:
        with use_reference():
            assert is_reference()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not is_reference()


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("gradients", [False, True])
def test_styled_conv_matches_the_grouped_convolution(upsample: bool, batch: int, gradients: bool) -> None:
    x, style, w = torch.randn(batch, 6, 9, 9), torch.randn(batch, 6) + 1, weights(5, 6)
    noise = torch.randn(1, 1, *([18, 18] if upsample else [9, 9]))
    expected = styled_conv_reference(x, style, w, noise, upsample)
    with torch.set_grad_enabled(gradients):
        close(styled_conv(x, style, w, noise, upsample), expected)
        close(styled_conv(x, style, w, None, upsample), styled_conv_reference(x, style, w, None, upsample))


def test_styled_conv_has_the_gradients_of_the_reference() -> None:
    x, style, w = torch.randn(2, 6, 8, 8), torch.randn(2, 6) + 1, weights(5, 6)
    gradients = []
    for function in (styled_conv, styled_conv_reference):
        inputs = [x.clone().requires_grad_(), style.clone().requires_grad_()]
        function(*inputs, w, None, True).square().sum().backward()
        gradients.append([i.grad for i in inputs])
    for got, expected in zip(*gradients, strict=True):
        close(got, expected, 1e-4)


def test_input_is_left_alone() -> None:
    x, style, w = torch.randn(1, 6, 8, 8), torch.randn(1, 6), weights(6, 6)
    before = x.clone()
    with torch.no_grad():
        styled_conv(x, style, w, torch.randn(1, 1, 8, 8), False)
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
