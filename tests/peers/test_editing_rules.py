"""How HFGI, FS and StyleRes edit: each by its own rule, and by those of SDIC."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.errors import ConfigError, SdicError
from sdic.methods import METHODS, build_inverter
from sdic.methods.options import options_in
from sdic.tiny import tiny_bundle
from sdic.types import GeneratorState

NAMES = ("hfgi", "fs", "styleres")


def model(name: str, **options: Any) -> Any:
    bundle = tiny_bundle(0, method=name)
    return build_inverter(
        name, bundle, DOMAINS["tiny"].geometry, **{**options_in(bundle.source, METHODS[name].Options), **options}
    )


@pytest.fixture
def direction() -> Direction:
    return Direction(torch.nn.functional.normalize(torch.randn(64), dim=0))


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_is_another_picture_and_strength_zero_the_inversion(
    name: str, photos: torch.Tensor, direction: Direction
) -> None:
    inverter = model(name)
    inversion = inverter.invert(photos[:1])
    pictures = []
    for rule in METHODS[name].edit_variants:
        assert torch.equal(inverter.edit(inversion, direction, 0.0, rule=rule), inversion.image)
        with torch.no_grad():
            rendered = inverter.with_options(rule=rule)._edit(inversion, [direction], [torch.zeros(1)])
        torch.testing.assert_close(rendered, inversion.image, atol=1e-4, rtol=1e-4)
        pictures.append(inverter.edit(inversion, direction, 2.0, rule=rule))
    for index, one in enumerate(pictures):
        assert all((one - other).abs().mean() > 1e-4 for other in pictures[:index])
    with pytest.raises(ConfigError, match="rule must be one of"):
        inverter.edit(inversion, direction, 1.0, rule="authors")


@pytest.mark.parametrize("name", NAMES)
def test_eq_6_is_there_for_all(name: str, photos: torch.Tensor, direction: Direction) -> None:
    inverter = model(name)
    inversion = inverter.invert(photos[:1])
    synthesis, latent = inverter.generator.synthesis, inversion.latent + direction.shift(inversion.latent, 2.0)
    with torch.no_grad():
        base = synthesis.until(inversion.layer, inversion.latent).feature
        feature = inversion.feature + synthesis.until(inversion.layer, latent).feature - base
        expected = inverter.render(latent, feature, inversion.layer)
    torch.testing.assert_close(inverter.edit(inversion, direction, 2.0, rule="paper"), expected, atol=1e-4, rtol=1e-4)


def test_hfgi_aligns_the_map_of_the_photo_with_the_edited_reconstruction(
    photos: torch.Tensor, direction: Direction
) -> None:
    inverter = model("hfgi")
    inversion = inverter.invert(photos[:1])
    synthesis, latent = inverter.generator.synthesis, inversion.latent + direction.shift(inversion.latent, 2.0)
    with torch.no_grad():
        plain, moved = synthesis(inversion.latent).clamp(-1, 1), synthesis(latent).clamp(-1, 1)
        feature = synthesis.until(3, latent).feature
        expected = {}
        for rule, reconstruction in (("realigned", moved), ("kept", plain)):
            aligned = inverter.ada(photos[:1] - plain, reconstruction)
            scale, shift = inverter.consultation(aligned, feature.shape[2:])
            state = GeneratorState(3, feature * (1 + scale) + shift, synthesis.rgb_below(3, latent))
            expected[rule] = synthesis(latent, state)
    for rule, picture in expected.items():
        torch.testing.assert_close(inverter.edit(inversion, direction, 2.0, rule=rule), picture, atol=1e-4, rtol=1e-4)


def test_fs_leaves_the_rgb_of_its_size_to_the_generator(photos: torch.Tensor) -> None:
    inverter = model("fs")
    inversion = inverter.invert(photos[:1])
    synthesis = inverter.generator.synthesis
    with torch.no_grad():
        own = synthesis.until(inversion.layer, inversion.latent)
        rgb = synthesis.with_rgb(own, inversion.latent).rgb
        expected = synthesis(inversion.latent, GeneratorState(2, inversion.feature, rgb))
        other = synthesis(inversion.latent, GeneratorState(2, inversion.feature, own.rgb))
    torch.testing.assert_close(inversion.image, expected, atol=1e-5, rtol=1e-5)
    assert (other - expected).abs().max() > 0.01


def test_fs_noise_is_fixed_by_default_and_free_on_request(photos: torch.Tensor) -> None:
    inverter, free = model("fs"), model("fs", noise="random")
    photo = photos[:1]
    first, second = inverter.invert(photo), inverter.invert(photo)
    assert torch.equal(first.image, second.image)
    one, other = free.invert(photo), free.invert(photo)
    assert torch.equal(one.feature, other.feature)
    assert (one.image - other.image).abs().max() > 1e-3
    assert torch.equal(free.edit(one, Direction(torch.randn(64)), 0.0), one.image)


def test_fs_averages_photos_of_the_generators_size() -> None:
    bundle = tiny_bundle(0, 128, method="fs")
    geometry = DOMAINS["tiny"].geometry.__class__(128, (64, 64))
    inverter = build_inverter("fs", bundle, geometry, **options_in(bundle.source, METHODS["fs"].Options))
    large = torch.rand(1, 3, 128, 128) * 2 - 1
    inversion = inverter.invert(large)
    assert inversion.photo is not None
    torch.testing.assert_close(inversion.photo, torch.nn.functional.avg_pool2d(large, 2))
    again = inverter.invert(inversion.photo)
    assert torch.equal(again.image, inversion.image)


def test_fs_takes_the_mean_code_of_the_generators_file() -> None:
    """The authors' encoder has none of its own: its rows stand in pSp's file, or the generator's mean in every row."""
    bundle = tiny_bundle(0, method="fs")
    encoder: Any = bundle.networks["feature_style"]
    encoder.latent_avg.zero_()
    options = options_in(bundle.source, METHODS["fs"].Options)
    rows = torch.randn(10, 64)
    beside: Any = bundle.networks["encoder"]
    beside.latent_avg.copy_(rows)
    built: Any = build_inverter("fs", bundle, DOMAINS["tiny"].geometry, **options)
    assert torch.equal(built.feature_style.latent_avg, rows)
    encoder.latent_avg.zero_()
    del bundle.networks["encoder"]
    built = build_inverter("fs", bundle, DOMAINS["tiny"].geometry, **options)
    assert torch.equal(built.feature_style.latent_avg, bundle.networks["generator"].latent_avg.expand(10, 64))


def test_an_inversion_of_another_method_is_refused_in_one_line(photos: torch.Tensor, direction: Direction) -> None:
    inversion = model("fs").invert(photos[:1])
    for name, held in (("hfgi", "discrepancy"), ("styleres", "extracted")):
        with pytest.raises(SdicError, match=f"holds no {held}, from which {name} edits; fs made it"):
            model(name).edit(inversion, direction, 1.0)
