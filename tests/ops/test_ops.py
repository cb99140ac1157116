"""Every fast operation against its plain reference."""

from __future__ import annotations

import pytest
import torch

from sdic.ops import (
    StyledConvWeights,
    blur,
    downsample,
    is_reference,
    styled_conv,
    styled_conv_reference,
    upsample_rgb,
    use_reference,
)


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
@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_styled_conv_matches_the_grouped_convolution(upsample: bool, batch: int, own: bool) -> None:
    """With one weight for all images, and with one for each; with and without something between."""
    x, style, w = torch.randn(batch, 6, 9, 9), torch.randn(batch, 6) + 1, weights(5, 6)
    if own:
        w = StyledConvWeights(torch.randn(batch, 5, 6, 3, 3) / 9, None, w.bias)
    noise = torch.randn(1, 1, *([18, 18] if upsample else [9, 9]))
    for options in ((noise, upsample), (None, upsample), (noise, upsample, torch.sin)):
        expected = styled_conv_reference(x, style, w, *options)
        close(styled_conv(x, style, w, *options), expected)
    assert not torch.allclose(expected, styled_conv_reference(x, style, w, noise, upsample))
    if own:
        for i in range(batch):
            one = StyledConvWeights(w.weight[i], None, w.bias)
            close(styled_conv(x, style, w, noise, upsample)[i], styled_conv(x, style, one, noise, upsample)[i])


@pytest.mark.parametrize("own", [False, True], ids=["shared", "own"])
def test_styled_conv_has_the_gradients_of_the_reference(own: bool) -> None:
    x, style, w = torch.randn(2, 6, 8, 8), torch.randn(2, 6) + 1, weights(5, 6)
    weight = torch.randn(2, 5, 6, 3, 3) / 9 if own else w.weight
    gradients = []
    for function in (styled_conv, styled_conv_reference):
        inputs = [x.clone().requires_grad_(), style.clone().requires_grad_(), weight.clone().requires_grad_()]
        learned = StyledConvWeights(inputs[2], None, w.bias)
        function(*inputs[:2], learned, None, True).square().sum().backward()
        gradients.append([i.grad for i in inputs])
    for got, expected in zip(*gradients, strict=True):
        close(got, expected, 1e-4)


def test_input_is_left_alone() -> None:
    x, style, w = torch.randn(1, 6, 8, 8), torch.randn(1, 6), weights(6, 6)
    before = x.clone()
    with torch.no_grad():
        styled_conv(x, style, w, torch.randn(1, 1, 8, 8), False)
    assert torch.equal(x, before)
