"""e4e, DIPN and DICN: presets, ablations, layers, domains; and their rearranged forms."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from sdic.errors import ConfigError
from sdic.fast import optimize_for_inference
from sdic.networks.compensator import Compensator, pad_square
from sdic.networks.dicn import DICN, DICNConfig
from sdic.networks.dipn import DIPN, DIPNConfig
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.irse import IRBody

CPU = torch.device("cpu")
DIPNS = [
    DIPNConfig(preset, contextual, attention)
    for preset in ("released", "paper")
    for contextual, attention in ((True, True), (True, False), (False, False))
]
DICNS = [{"preset": preset, "fusion": fusion} for preset in ("released", "paper") for fusion in ("attention", "affine")]


def randomise_statistics(network: nn.Module) -> nn.Module:
    """Running statistics as training leaves them, so that folding them is tested."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.running_mean, 0.0, 0.1)
            nn.init.uniform_(module.running_var, 0.6, 1.4)
            nn.init.normal_(module.weight, 1.0, 0.1)
            nn.init.normal_(module.bias, 0.0, 0.1)
    return network.eval()


@pytest.mark.parametrize("config", DIPNS, ids=str)
@pytest.mark.parametrize("size", [(32, 32), (24, 32), (36, 44)])
def test_dipn_keeps_the_size(config: DIPNConfig, size: tuple[int, int]) -> None:
    network = DIPN(config).eval()
    with torch.no_grad():
        assert network(torch.randn(2, 3, *size), torch.randn(2, 3, *size)).shape == (2, 3, *size)


@pytest.mark.parametrize("config", DIPNS, ids=str)
def test_every_dipn_parameter_gets_a_gradient(config: DIPNConfig) -> None:
    network = DIPN(config)
    network(torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_released_dipn_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in DIPN(DIPNConfig()).parameters()) == pytest.approx(1.713e6, rel=1e-3)
    assert sum(p.numel() for p in DICN(DICNConfig()).parameters()) == pytest.approx(7.449e6, rel=1e-3)


def test_dipn_reads_both_pictures() -> None:
    network = DIPN(DIPNConfig()).eval()
    one, two = torch.randn(2, 1, 3, 32, 32)
    with torch.no_grad():
        base = network(one, two)
        assert not torch.allclose(network(two, one), base)
        assert not torch.allclose(network(one, one), base)
    with pytest.raises(ValueError, match="one shape"):
        network(one, two[:, :, :16])


@pytest.mark.parametrize("options", DICNS, ids=str)
@pytest.mark.parametrize(("rows", "width"), [(18, 512), (16, 512), (10, 64)])
@pytest.mark.parametrize("feature_size", [8, 16, 32, 64])
def test_dicn_fits_every_layer_and_domain(options: dict, rows: int, width: int, feature_size: int) -> None:
    """Layer 5, 7, 9 of a 256 px map are a factor of 8, 4, 2; here a 64 px map, and a feature as large as the map."""
    config = DICNConfig(rows, width, 12, feature_size, 64, **options)
    network = DICN(config)
    latent, feature = torch.randn(2, rows, width), torch.randn(2, 12, feature_size, feature_size)
    result = network(torch.randn(2, 3, 64, 64), latent, feature)
    assert result.latent.shape == latent.shape
    assert result.feature.shape == feature.shape
    (result.latent.square().mean() + result.feature.square().mean()).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_paper_dicn_begins_at_the_code() -> None:
    latent = torch.randn(2, 18, 512)
    network = DICN(DICNConfig(preset="paper", feature_channels=8, feature_size=16, map_size=64))
    assert torch.equal(network(torch.randn(2, 3, 64, 64), latent, torch.randn(2, 8, 16, 16)).latent, latent)


def test_unknown_presets_are_refused() -> None:
    for build in (
        lambda: DIPNConfig("offical"),
        lambda: DICNConfig(preset="offical"),
        lambda: DICNConfig(fusion="add"),
    ):
        with pytest.raises(ConfigError):
            build()


def test_compensator_pads_car_maps() -> None:
    """192x256 pictures and a square feature: where the picture is not, there is no discrepancy."""
    padded = pad_square(torch.ones(1, 3, 24, 32))
    assert padded.shape == (1, 3, 32, 32)
    assert padded[:, :, :4].abs().sum() == padded[:, :, -4:].abs().sum() == 0
    assert padded[:, :, 4:-4].min() == 1
    network = Compensator(DIPN(DIPNConfig()), DICN(DICNConfig(16, 512, 6, 8, 32))).eval()
    with torch.no_grad():
        out = network(
            torch.randn(1, 3, 24, 32), torch.randn(1, 3, 24, 32), torch.randn(1, 16, 512), torch.randn(1, 6, 8, 8)
        )
    assert out.discrepancy.shape == (1, 3, 24, 32)
    assert out.feature.shape == (1, 6, 8, 8)


def small_encoder() -> E4E:
    return E4E(E4EConfig(10, 32, (1, 1, 2, 1), (8, 12, 16, 24), input_size=64))


def test_e4e_offsets_are_progressive() -> None:
    network = small_encoder().eval()
    photo = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        whole, first = network(photo), network(photo, rows=4)
    assert whole.shape == (2, 10, 32)
    torch.testing.assert_close(first[:, :4], whole[:, :4])
    torch.testing.assert_close(first[:, 4:], first[:, :1].expand(-1, 6, -1))
    assert not torch.allclose(whole[:, 4:], first[:, 4:])
    with torch.no_grad():
        assert network(torch.randn(1, 3, 48, 64)).shape == (1, 10, 32)  # as cars are: 3:4
    with pytest.raises(ValueError, match="input_size"):
        network(torch.randn(1, 3, 128, 128))


@pytest.mark.parametrize("config", DIPNS, ids=str)
def test_rearranged_dipn_is_the_same(config: DIPNConfig) -> None:
    network = randomise_statistics(DIPN(config))
    fast = optimize_for_inference(copy.deepcopy(network), CPU)
    for size in ((2, 3, 32, 32), (2, 3, 36, 44), (2, 3, 24, 32), (1, 3, 32, 32)):
        photo, initial = torch.randn(2, *size)
        with torch.no_grad():
            expected = network(photo, initial)
            assert ((fast(photo, initial) - expected).abs().max() / expected.std()).item() < 1e-4


def test_strips_of_the_volume_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    network = randomise_statistics(DIPN(DIPNConfig()))
    fast = optimize_for_inference(copy.deepcopy(network), CPU)
    photo, initial = torch.randn(2, 1, 3, 64, 32)
    with torch.no_grad():
        whole = fast(photo, initial)
        for rows in (2, 6, 10):
            monkeypatch.setattr("sdic.fast.volumes.STRIP_BYTES", rows * 4 * 48 * 32 * 8)
            torch.testing.assert_close(fast(photo, initial), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("options", DICNS, ids=str)
def test_rearranged_dicn_is_the_same(options: dict) -> None:
    config = DICNConfig(10, 64, 256, 16, 64, **options)
    network = randomise_statistics(DICN(config))
    fast = optimize_for_inference(copy.deepcopy(network), CPU)
    inputs = torch.randn(1, 3, 64, 64), torch.randn(1, 10, 64), torch.randn(1, 256, 16, 16)
    with torch.no_grad():
        for got, expected in zip(fast(*inputs), network(*inputs), strict=True):
            assert ((got - expected).abs().max() / expected.std()).item() < 1e-4


def test_rearranged_encoders_are_the_same() -> None:
    network = randomise_statistics(small_encoder())
    fast = optimize_for_inference(copy.deepcopy(network), CPU)
    photo = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(fast(photo), network(photo), atol=1e-4, rtol=1e-4)
    body = randomise_statistics(IRBody((1, 1, 1, 1), (8, 8, 8, 8), se=False))
    fast_body = optimize_for_inference(copy.deepcopy(body), CPU)
    with torch.no_grad():
        for got, expected in zip(fast_body(photo), body(photo), strict=True):
            torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-4)


def test_a_map_can_be_the_plain_difference() -> None:
    photo, initial = torch.randn(2, 1, 3, 32, 32)
    plain = DIPN(DIPNConfig(map="difference"))
    assert not list(plain.parameters())
    assert torch.equal(plain(photo, initial), photo - initial)
    refined = DIPN(DIPNConfig(map="refined")).eval()
    assert torch.equal(refined(photo, initial), photo - initial)  # at first
    refined(photo, initial).square().sum().backward()
    assert refined.share.grad is not None
    assert float(refined.share.grad.abs()) > 0
    with torch.no_grad():
        refined.share.fill_(0.5)
    torch.testing.assert_close(refined(photo, initial), photo - initial + 0.5 * refined.predict(photo, initial))
    with pytest.raises(ConfigError, match="map must be"):
        DIPN(DIPNConfig(map="guessed"))  # type: ignore[arg-type]
