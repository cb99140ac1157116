"""The generator: its doors, its noise, its sizes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sdic.changes import Changes
from sdic.errors import ConfigError
from sdic.fast import accelerate
from sdic.networks.discriminator import Discriminator
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.ops import use_reference

SMALL = GeneratorConfig(64, style_dim=32, mapping_layers=2, channel_base=1024, channel_max=24)


@pytest.fixture(scope="module")
def generator() -> Generator:
    torch.manual_seed(3)
    network = Generator(SMALL).eval().requires_grad_(False)
    for conv in network.synthesis.convs:
        conv.noise_strength.fill_(0.3)
    return network


@pytest.fixture
def latent() -> torch.Tensor:
    return torch.randn(2, SMALL.latent_rows, SMALL.style_dim)


def test_sizes_of_config_f() -> None:
    config = GeneratorConfig(1024)
    assert (config.latent_rows, config.layers) == (18, 17)
    assert [config.layer_resolution(k) for k in (0, 1, 5, 7, 8, 9, 16)] == [4, 8, 32, 64, 64, 128, 1024]
    assert [config.layer_channels(k) for k in (7, 9, 11, 13, 15)] == [512, 256, 128, 64, 32]


@pytest.mark.parametrize("resolution", [16, 32, 64, 128, 256, 512, 1024])
def test_every_size_draws(resolution: int) -> None:
    config = GeneratorConfig(resolution, style_dim=8, mapping_layers=1, channel_base=1024, channel_max=8)
    with torch.no_grad():
        assert Generator(config)(torch.randn(1, 8)).shape == (1, 3, resolution, resolution)


@pytest.mark.parametrize("resolution", [8, 100, 2048])
def test_other_sizes_are_refused(resolution: int) -> None:
    with pytest.raises(ConfigError, match=str(resolution)):
        GeneratorConfig(resolution)


@pytest.mark.parametrize("layer", range(SMALL.layers))
def test_stop_and_resume_equals_the_whole(generator: Generator, latent: torch.Tensor, layer: int) -> None:
    whole = generator.synthesis(latent)
    state = generator.synthesis.until(layer, latent)
    assert state.feature.shape[1:] == (SMALL.layer_channels(layer), *[SMALL.layer_resolution(layer)] * 2)
    torch.testing.assert_close(generator.synthesis(latent, state), whole, atol=1e-5, rtol=1e-5)
    rgb = generator.synthesis.rgb_below(layer, latent)
    assert (rgb is None) == (state.rgb is None) == (layer == 0)
    if rgb is not None:
        torch.testing.assert_close(rgb, state.rgb)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (2, 7), (3, 4), (5, 8)])
def test_a_state_can_be_reached_in_two_steps(
    generator: Generator, latent: torch.Tensor, first: int, second: int
) -> None:
    once = generator.synthesis.until(second, latent)
    twice = generator.synthesis.until(second, latent, generator.synthesis.until(first, latent))
    torch.testing.assert_close(once.feature, twice.feature)
    torch.testing.assert_close(once.rgb, twice.rgb)


def test_a_layer_below_the_state_does_not_matter(generator: Generator, latent: torch.Tensor) -> None:
    """Resumed at layer 7, rows 0..7 are not read any more, and row 8 is."""
    state = generator.synthesis.until(7, latent)
    other = latent.clone()
    other[:, :8] += 1
    assert torch.equal(generator.synthesis(other, state), generator.synthesis(latent, state))
    other[:, 8] += 1
    assert not torch.equal(generator.synthesis(other, state), generator.synthesis(latent, state))


def test_wrong_states_are_refused(generator: Generator, latent: torch.Tensor) -> None:
    state = generator.synthesis.until(5, latent)
    with pytest.raises(ConfigError, match="layers 0"):
        generator.synthesis.until(SMALL.layers, latent)
    with pytest.raises(ConfigError, match="from layer 5 to layer 5"):
        generator.synthesis.until(5, latent, state)
    with pytest.raises(ValueError, match="latent must be"):
        generator.synthesis(latent[:, :-1])


def test_batch_equals_singles(generator: Generator, latent: torch.Tensor) -> None:
    singles = torch.cat([generator.synthesis(row[None]) for row in latent])
    torch.testing.assert_close(generator.synthesis(latent), singles, atol=1e-5, rtol=1e-5)


def test_fast_equals_reference(generator: Generator, latent: torch.Tensor) -> None:
    with use_reference():
        expected = generator.synthesis(latent)
    fast = accelerate(copy.deepcopy(generator))
    with torch.no_grad():
        for network in (generator, fast):
            for rows in (latent, latent[:1]):
                torch.testing.assert_close(network.synthesis(rows), expected[: len(rows)], atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [8, 16, 32])
def test_the_shrunk_image_equals_interpolation(size: int) -> None:
    """Large enough for the strips to be used, at a factor of 16, 8 and 4 (and the general way at 16)."""
    config = GeneratorConfig(128, style_dim=16, mapping_layers=1, channel_base=65536, channel_max=512)
    plain = Generator(config).eval().requires_grad_(False)
    fast: Any = accelerate(copy.deepcopy(plain))
    latent = torch.randn(1, config.latent_rows, 16)
    with torch.no_grad():
        assert fast.synthesis._in_strips(config.layers - 1, latent, Changes())
        expected = F.interpolate(plain.synthesis(latent).clamp(-1, 1), size=(size, size), mode="bilinear")
        for network in (plain, fast):
            got = network.synthesis.shrunk(latent, size)
            torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
            state = network.synthesis.until(4, latent)
            torch.testing.assert_close(network.synthesis.shrunk(latent, size, state), got, atol=1e-5, rtol=1e-5)


def test_noise(generator: Generator, latent: torch.Tensor) -> None:
    fixed, none = generator.synthesis(latent), generator.synthesis(latent, noise="none")
    assert torch.equal(fixed, generator.synthesis(latent))
    assert not torch.allclose(fixed, none)
    drawn = generator.synthesis(latent, noise=5)
    assert torch.equal(drawn, generator.synthesis(latent, noise=5))
    assert not torch.allclose(drawn, generator.synthesis(latent, noise=6))
    state = generator.synthesis.until(6, latent, noise=5)
    torch.testing.assert_close(generator.synthesis(latent, state, noise=5), drawn, atol=1e-5, rtol=1e-5)
    assert not torch.equal(generator.synthesis(latent, noise="random"), generator.synthesis(latent, noise="random"))


def test_frozen_weights_follow_a_changed_parameter(generator: Generator, latent: torch.Tensor) -> None:
    """The scaled weights are kept between calls, and must not outlive a change."""
    network = Generator(SMALL).eval().requires_grad_(False)
    accelerate(network)
    with torch.no_grad():
        before = network.synthesis(latent)
        network.synthesis.convs[4].weight.mul_(torch.randn(1, SMALL.layer_channels(4), 1, 1))
        assert not torch.allclose(network.synthesis(latent), before)
        network.load_state_dict(generator.state_dict())
        torch.testing.assert_close(network.synthesis(latent), generator.synthesis(latent))


def test_mean_latent_and_truncation(generator: Generator) -> None:
    mean = generator.mean_latent(500)
    assert torch.equal(mean, generator.mean_latent(500))
    generator.latent_avg.copy_(mean)
    at_mean = generator.latent(torch.randn(2, 32), truncation=0.0)
    torch.testing.assert_close(at_mean, mean.expand_as(at_mean))


def test_every_parameter_gets_a_gradient() -> None:
    network = Generator(SMALL)
    network(torch.randn(2, 32)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_discriminator() -> None:
    network = Discriminator(SMALL)
    images = torch.randn(6, 3, 64, 64)
    scores = network(images)
    assert scores.shape == (6, 1)
    scores.sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    with use_reference():
        torch.testing.assert_close(network(images), scores, atol=1e-5, rtol=1e-4)
