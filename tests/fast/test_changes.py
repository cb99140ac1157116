"""The generator's doors: changes of noise, weights and styles, a feature of one's own, something inside a convolution.

The plain synthesis, its fast form (strips and Winograd even at these sizes) and the reference operations must agree.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.changes import Changes, Styles
from sdic.errors import ConfigError
from sdic.fast import accelerate, strips, winograd
from sdic.fast import synthesis as fast_synthesis
from sdic.networks.stylegan2 import Generator, GeneratorConfig, Synthesis, shrink
from sdic.ops import use_reference
from sdic.types import GeneratorState

CONFIG = GeneratorConfig(64, style_dim=16, mapping_layers=1, channels=(12, 12, 10, 10, 8))
LAYERS = range(CONFIG.layers)
BATCH = 3


@pytest.fixture(scope="module", autouse=True)
def _fast_at_small_sizes() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (strips, fast_synthesis):
            patch.setattr(module, "strip_rows", lambda width, channels: 8)
        patch.setattr(winograd, "MIN_CHANNELS", 8)
        yield


@pytest.fixture(scope="module")
def plain() -> Synthesis:
    torch.manual_seed(3)
    synthesis = Generator(CONFIG).synthesis.eval().requires_grad_(False)
    for conv in synthesis.convs:
        conv.noise_strength.fill_(0.3)
        conv.bias.normal_(0, 0.3)
    return synthesis


@pytest.fixture(scope="module")
def fast(plain: Synthesis) -> Any:
    synthesis: Any = accelerate(copy.deepcopy(plain))
    return synthesis


@pytest.fixture
def latent() -> Tensor:
    torch.manual_seed(5)
    return torch.randn(BATCH, CONFIG.latent_rows, CONFIG.style_dim)


def inputs(layer: int) -> int:
    return CONFIG.layer_channels(max(0, layer - 1))


def made(kind: str, batch: int = BATCH) -> Changes:
    """Changes of every layer for `batch` images, the same for all of them where `batch` is 1."""
    torch.manual_seed(batch)
    outputs = {layer: CONFIG.layer_channels(layer) for layer in LAYERS}
    if kind == "noise":
        sizes = {layer: CONFIG.layer_resolution(layer) for layer in LAYERS if layer != 2}
        return Changes(noise={layer: torch.randn(batch, 1, size, size) for layer, size in sizes.items()})
    if kind == "weights":
        shapes = {layer: (batch, outputs[layer], inputs(layer), 3, 3) for layer in LAYERS if layer != 3}
        return Changes(weights={layer: 0.5 * torch.randn(shape) for layer, shape in shapes.items()})
    if kind == "gains":
        taps = {layer: 3 if layer < 5 else 1 for layer in LAYERS}
        shapes = {layer: (batch, outputs[layer], inputs(layer), taps[layer], taps[layer]) for layer in LAYERS}
        return Changes(weight_gains={layer: 0.5 * torch.randn(shape) for layer, shape in shapes.items()})
    convs = {layer: torch.randn(batch, inputs(layer)) for layer in (0, 1, 4, 8)}
    rgb = {layer: torch.randn(batch, outputs[layer]) for layer in (0, 4, 8)}
    if kind == "styles":
        return Changes(styles=Styles(convs, rgb))
    if kind == "shifts":
        return Changes(style_shifts=Styles(convs, rgb))
    if kind == "convolved":
        return Changes(convolved={layer: lambda y: y.flip(3) + 0.1 for layer in (1, 5, 8)})
    assert kind == "all"
    one, two = made("weights", batch), made("gains", batch)
    return Changes(
        made("noise", batch).noise,
        one.weights,
        two.weight_gains,
        Styles({2: convs[1]}, rgb),
        Styles(convs),
        made("convolved").convolved,
    )


def of_image(changes: Changes, index: int) -> Changes:
    """The changes of one image of the batch."""

    def part(tensors: Any) -> Any:
        return {layer: tensor[index : index + 1] for layer, tensor in tensors.items()}

    def parts(styles: Styles) -> Styles:
        return Styles(part(styles.convs), part(styles.rgb))

    noise = part(changes.noise) if isinstance(changes.noise, Mapping) else changes.noise
    weights, gains = part(changes.weights), part(changes.weight_gains)
    return Changes(noise, weights, gains, parts(changes.styles), parts(changes.style_shifts), changes.convolved)


def close(got: Tensor, expected: Tensor, tolerance: float = 1e-4) -> None:
    assert got.shape == expected.shape
    assert ((got - expected).abs().max() / expected.std()).item() < tolerance


KINDS = ["noise", "weights", "gains", "styles", "shifts", "convolved", "all"]


@pytest.mark.parametrize("kind", KINDS)
def test_plain_fast_and_reference_agree_image_by_image(
    plain: Synthesis, fast: Synthesis, latent: Tensor, kind: str
) -> None:
    changes = made(kind)
    with torch.no_grad():
        with use_reference():
            expected = plain(latent, changes=changes)
        assert (expected - plain(latent)).abs().max() > 0.1 * expected.std()
        close(plain(latent, changes=changes), expected)
        close(fast(latent, changes=changes), expected)
        for index in range(BATCH):
            one, own = latent[index : index + 1], of_image(changes, index)
            for synthesis in (plain, fast):
                close(synthesis(one, changes=own), expected[index : index + 1])
    if kind != "convolved":
        assert not torch.allclose(expected[0], plain(latent[:1], changes=of_image(changes, 1))[0], atol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_changes_for_all_images_alike(plain: Synthesis, fast: Synthesis, latent: Tensor, kind: str) -> None:
    changes = made(kind, batch=1)
    with torch.no_grad():
        singles = torch.cat([plain(row, changes=changes) for row in latent.split(1)])
        for synthesis in (plain, fast):
            close(synthesis(latent, changes=changes), singles)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [1, 4, 7])
def test_stopping_and_going_on_with_changes(
    plain: Synthesis, fast: Synthesis, latent: Tensor, kind: str, layer: int
) -> None:
    changes = made(kind)
    with torch.no_grad():
        whole = plain(latent, changes=changes)
        for synthesis in (plain, fast):
            for index in range(BATCH):
                one, own = latent[index : index + 1], of_image(changes, index)
                state = synthesis.until(layer, one, changes=own)
                close(synthesis(one, state, changes=own), whole[index : index + 1])
                below = synthesis.rgb_below(layer, one, changes=own)
                assert below is not None
                assert state.rgb is not None
                close(below, state.rgb)
                expected = shrink(whole[index : index + 1].clamp(-1, 1), 16)
                close(synthesis.shrunk(one, 16, state, changes=own), expected)


@pytest.mark.parametrize("kind", ["noise", "weights", "gains", "styles", "shifts", "convolved"])
def test_gradients_reach_code_and_changes(plain: Synthesis, fast: Synthesis, latent: Tensor, kind: str) -> None:
    """For In-Domain and PTI the code, for HyperStyle the weights; the same from all three forms."""

    def gradients(synthesis: Synthesis) -> list[Tensor]:
        code, changes = latent.clone().requires_grad_(), made(kind)
        tensors = [*changes.weights.values(), *changes.weight_gains.values()]
        for styles in (changes.styles, changes.style_shifts):
            tensors += [*styles.convs.values(), *styles.rgb.values()]
        tensors += changes.noise.values() if isinstance(changes.noise, Mapping) else []
        leaves = [code, *(tensor.requires_grad_() for tensor in tensors)]
        state = synthesis.until(4, code, changes=changes)
        return list(torch.autograd.grad(synthesis(code, state, changes=changes).square().mean(), leaves))

    with use_reference():
        expected = gradients(plain)
    for synthesis in (plain, fast):
        for got, wanted in zip(gradients(synthesis), expected, strict=True):
            assert wanted.abs().max() > 0
            close(got, wanted, 1e-3)


def test_styles_go_out_and_in(plain: Synthesis, fast: Synthesis, latent: Tensor) -> None:
    """Given the styles of a code, the code itself is not read any more."""
    styles = plain.styles(latent)
    assert list(styles.convs) == list(LAYERS)
    assert list(styles.rgb) == list(LAYERS)[::2]
    with torch.no_grad():
        for synthesis in (plain, fast):
            got = synthesis(torch.zeros_like(latent), changes=Changes(styles=styles))
            close(got, plain(latent))
        moved = replace(
            styles, convs={**styles.convs, 5: styles.convs[5] + 1}, rgb={**styles.rgb, 2: styles.rgb[2] - 1}
        )
        shift = Styles({5: torch.ones(1, inputs(5))}, {2: -torch.ones(1, CONFIG.layer_channels(2))})
        close(
            plain(latent, changes=Changes(style_shifts=shift)),
            plain(torch.zeros_like(latent), changes=Changes(styles=moved)),
        )


def into_the_next_convolution(synthesis: Any, latent: Tensor, layer: int, feature: Tensor) -> Tensor:
    """What FS, CLCAE and StyleFeatureEditor draw, written out by hand with plain functions."""
    state = synthesis.until(layer + 1, latent)  # its RGB has the resolution of `layer` in it
    x = synthesis.convs[layer + 1](feature, latent[:, layer + 1])
    return synthesis(latent, GeneratorState(layer + 1, x, state.rgb))


@pytest.mark.parametrize("layer", [0, 4, 6])
def test_a_feature_that_enters_the_next_convolution(
    plain: Synthesis, fast: Synthesis, latent: Tensor, layer: int
) -> None:
    feature = torch.randn_like(plain.until(layer, latent).feature)
    with torch.no_grad():
        expected = into_the_next_convolution(plain, latent, layer, feature)
        state = plain.until(layer, latent)
        assert (plain(latent, replace(state, feature=feature)) - expected).abs().max() > 0.1 * expected.std()
        for synthesis in (plain, fast):
            state = synthesis.with_rgb(synthesis.until(layer, latent), latent)
            close(synthesis(latent, replace(state, feature=feature)), expected)
            for index in range(BATCH):
                part = slice(index, index + 1)
                state = synthesis.with_rgb(synthesis.until(layer, latent[part]), latent[part])
                state = replace(state, feature=feature[part])
                close(synthesis(latent[part], state), expected[part])
                later = synthesis.until(7, latent[part], state)
                close(synthesis(latent[part], later), expected[part])
        own = plain.with_rgb(plain.until(layer, latent), latent)
        close(plain(latent, own), plain(latent))  # with the generator's own feature nothing changes
        assert plain.with_rgb(own, latent) is own
    feature.requires_grad_()
    gradients = []
    for draw in (
        lambda: into_the_next_convolution(plain, latent, layer, feature),
        lambda: fast(latent, replace(own, feature=feature)),
    ):
        gradients += torch.autograd.grad(draw().square().mean(), feature)
    close(gradients[1], gradients[0], 1e-3)


def test_what_stands_between_convolution_and_noise(plain: Synthesis, fast: Synthesis, latent: Tensor) -> None:
    """It sees the demodulated convolution; noise, bias and activation follow it."""
    collected: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], Tensor]:
        def run(y: Tensor) -> Tensor:
            collected[layer] = y.clone()
            return torch.zeros_like(y)

        return run

    with torch.no_grad():
        for synthesis in (plain, fast):
            state = synthesis.until(4, latent[:1])
            after = synthesis.until(5, latent[:1], state, changes=Changes(convolved={5: keep(5)})).feature
            conv: Any = synthesis.convs[5]
            ordinary = conv.noise_map("fixed", 1) + conv.bias[:, None, None]
            close(after, (F.leaky_relu(ordinary, 0.2) * 2**0.5))
            whole = F.leaky_relu(collected[5] + ordinary, 0.2) * 2**0.5
            close(whole, synthesis.until(5, latent[:1], state).feature)


class OnDemand(Mapping[int, Tensor]):
    """Gains that are made when they are asked for, as HyperStyle's heads can."""

    def __init__(self, stored: Mapping[int, Tensor]):
        self.stored = stored
        self.asked: list[int] = []

    def __getitem__(self, layer: int) -> Tensor:
        self.asked.append(layer)
        return self.stored[layer]

    def __iter__(self) -> Iterator[int]:
        return iter(self.stored)

    def __len__(self) -> int:
        return len(self.stored)


def test_weights_may_be_made_on_demand(plain: Synthesis, fast: Synthesis, latent: Tensor) -> None:
    stored = of_image(made("gains"), 0).weight_gains
    with torch.no_grad():
        for synthesis in (plain, fast):
            gains = OnDemand(stored)
            got = synthesis(latent[:1], changes=Changes(weight_gains=gains))
            assert gains.asked == list(LAYERS)
            close(got, plain(latent[:1], changes=Changes(weight_gains=stored)))


def test_a_gain_is_the_weight_that_it_makes(plain: Synthesis, latent: Tensor) -> None:
    gain = made("gains").weight_gains
    delta = {layer: plain.convs[layer].weight * gain[layer] for layer in gain}
    one, two = (plain(latent, changes=changes) for changes in (Changes(weight_gains=gain), Changes(weights=delta)))
    close(one, two)
    tuned = copy.deepcopy(plain)
    for layer in gain:
        tuned.convs[layer].weight.add_(delta[layer][1])
    close(tuned(latent[1:2]), two[1:2])


def test_noise_by_layer_is_scaled_as_the_stored_one(plain: Synthesis, latent: Tensor) -> None:
    stored = {layer: plain.convs[layer].noise for layer in LAYERS}
    assert torch.equal(plain(latent, noise=stored), plain(latent))
    none = plain(latent, noise={layer: torch.zeros_like(noise) for layer, noise in stored.items()})
    assert torch.equal(none, plain(latent, noise="none"))
    assert torch.equal(plain(latent, noise=4), plain(latent, changes=Changes(noise=4)))


def test_a_state_goes_on_in_another_generator(plain: Synthesis, latent: Tensor) -> None:
    """NADA: an adapted generator of equal shape takes over."""
    other = Generator(CONFIG).synthesis
    state = plain.until(5, latent)
    assert not torch.allclose(other(latent, state), plain(latent, state), atol=1e-2)


def test_changes_that_do_not_fit_are_refused(plain: Synthesis, latent: Tensor) -> None:
    nothing = torch.zeros(1)
    for changes, error, message in (
        (Changes(weights={9: nothing}), ConfigError, r"layers \[9\].* 0 \.\. 8"),
        (Changes(noise={-1: nothing}), ConfigError, r"layers \[-1\]"),
        (Changes(styles=Styles({}, {3: nothing})), ConfigError, r"layers \[3\]"),
        (Changes(convolved={12: torch.sin}), ConfigError, r"layers \[12\]"),
        (Changes(noise={2: torch.zeros(2, 1, 8, 8)}), ValueError, r"noise of layer 2 must be .*\(3, 1, 8, 8\)"),
        (Changes(noise={2: torch.zeros(1, 1, 4, 4)}), ValueError, "noise of layer 2"),
        (Changes(weights={2: torch.zeros(3, 12, 10, 3, 3)}), ValueError, "layer 2"),
        (Changes(weights={2: torch.zeros(2, 12, 12, 3, 3)}), ValueError, "layer 2"),
        (Changes(weight_gains={2: torch.zeros(1, 1, 12, 12, 3, 3)}), ValueError, "layer 2"),
        (Changes(styles=Styles({2: torch.zeros(3, 11)})), ValueError, r"style must be .*\(3, 12\)"),
        (Changes(style_shifts=Styles({}, {2: torch.zeros(2, 12)})), ValueError, "style must be"),
    ):
        with pytest.raises(error, match=message):
            plain(latent, changes=changes)
    with pytest.raises(ConfigError, match="not beside them"):
        plain(latent, noise="none", changes=Changes())
    state = plain.until(4, latent)
    with pytest.raises(ValueError, match="RGB of 8 or 16 px"):
        plain(latent, replace(state, rgb=None))
    with pytest.raises(ValueError, match="feature at layer 4"):
        plain(latent, replace(state, feature=state.feature[:, 1:]))
