"""Interpolation and style mixing: ends to the bit, what lies between, and what does not go together."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import sdic
from sdic.errors import ConfigError, SdicError
from sdic.methods.mixing import parse_rows


@pytest.fixture(scope="module")
def inverter() -> sdic.Inverter:
    torch.set_num_threads(1)
    return sdic.load("tiny", "cpu")


@pytest.fixture(scope="module")
def pair(inverter) -> tuple[sdic.Inversion, sdic.Inversion]:
    photos = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    both = inverter.invert(photos)
    return both[0], both[1]


def test_the_ends_are_the_inversions_to_the_bit(inverter, pair):
    first, second = pair
    for name in ("image", "latent", "feature"):
        assert torch.equal(getattr(inverter.interpolate(first, second, 0), name), getattr(first, name))
        assert torch.equal(getattr(inverter.interpolate(first, second, 1.0), name), getattr(second, name))
        assert torch.equal(getattr(inverter.mix(first, second, [3], 0), name), getattr(first, name))


@pytest.mark.parametrize("rule", ["paper", "carried"])
def test_nothing_jumps_at_the_ends(inverter, pair, rule):
    method, (first, second) = inverter.with_options(rule=rule), pair
    for t, end in ((1e-6, first), (1 - 1e-6, second)):
        assert torch.allclose(method.interpolate(first, second, t).image, end.image, atol=1e-3)
    assert torch.allclose(method.mix(first, second, range(10), 1e-6).image, first.image, atol=1e-3)


def test_by_equation_6_both_compensations_lie_on_the_generators_own_feature(inverter, pair):
    first, second = pair
    mixed = inverter.with_options(rule="paper").interpolate(first, second, 0.25)
    latent = 0.75 * first.latent + 0.25 * second.latent
    base = 0.75 * first.base_latent + 0.25 * second.base_latent
    own = inverter.generator.synthesis.until(first.layer, base).feature
    compensation = [one.feature - one.extras["base_feature"] for one in pair]
    feature = own + 0.75 * compensation[0] + 0.25 * compensation[1]
    assert torch.allclose(mixed.latent, latent, atol=1e-6)
    assert torch.allclose(mixed.feature, feature, atol=1e-4)
    assert torch.allclose(mixed.extras["base_feature"], own, atol=1e-5)
    assert torch.allclose(mixed.image, inverter.render(latent, feature, first.layer), atol=1e-4)


def test_what_lies_between_can_be_edited_saved_and_mixed_on(inverter, pair, tmp_path):
    mixed = inverter.interpolate(*pair, 0.5)
    direction = sdic.Direction(torch.ones(64))
    assert torch.equal(inverter.edit(mixed, direction, 0.0), mixed.image)
    assert torch.allclose(inverter.edit(mixed, direction, 1e-7), mixed.image, atol=1e-3)
    mixed.save(tmp_path / "between.safetensors")
    again = sdic.Inversion.load(tmp_path / "between.safetensors")
    assert torch.equal(inverter.edit(again, direction, 2.0), inverter.edit(mixed, direction, 2.0))
    assert inverter.interpolate(mixed, pair[0], 0.5).image.shape == mixed.image.shape
    assert mixed.photo is None


def test_mixing_takes_rows_over_whole(inverter, pair):
    first, second = pair
    fine = inverter.mix(first, second, [6, 7, 8, 9])
    assert torch.equal(fine.latent[:, 6:], second.latent[:, 6:])
    assert torch.equal(fine.latent[:, :6], first.latent[:, :6])
    assert torch.equal(fine.feature, first.feature)  # rows above the compensated layer leave it alone
    assert torch.allclose(fine.image, inverter.render(fine.latent, first.feature, first.layer), atol=1e-5)
    coarse = inverter.mix(first, second, [0, 1])
    assert not torch.allclose(coarse.feature, first.feature, atol=1e-3)
    half = inverter.mix(first, second, [6], 0.5)
    assert torch.allclose(half.latent[:, 6], (first.latent + second.latent)[:, 6] / 2, atol=1e-6)


def test_methods_without_a_feature_mix_codes(pair):
    e4e = sdic.load("tiny-e4e", "cpu")
    first, second = (e4e.invert(one.photo) for one in pair)
    between = e4e.interpolate(first, second, 0.5)
    code = (first.latent + second.latent) / 2
    assert torch.allclose(between.image, e4e.generator.synthesis(code), atol=1e-4)
    mixed = e4e.mix(first, second, [2])
    assert torch.allclose(mixed.image, e4e.generator.synthesis(mixed.latent), atol=1e-4)


def test_a_code_alone_has_nothing_to_compensate(inverter, pair):
    code = inverter.from_latent(inverter.generator.latent_avg[None, None])
    between = inverter.interpolate(pair[0], code, 0.999999)
    assert torch.allclose(between.image, code.image, atol=1e-3)
    assert torch.allclose(inverter.interpolate(code, pair[0], 1e-6).image, code.image, atol=1e-3)


def test_one_photo_goes_with_many(inverter, pair):
    first, second = pair
    both = inverter.interpolate(first, sdic.Inversion.cat([first, second]), 0.5)
    assert torch.allclose(both.image[1:], inverter.interpolate(first, second, 0.5).image, atol=1e-5)
    with pytest.raises(ConfigError, match="2 inversions do not go with 3"):
        inverter.interpolate(first[[0, 0]], second[[0, 0, 0]], 0.5)


@pytest.mark.parametrize("t", [-0.1, 1.1, float("nan"), float("inf")])
def test_places_outside_are_refused(inverter, pair, t):
    with pytest.raises(ConfigError, match="t must be a number from 0 to 1"):
        inverter.interpolate(*pair, t)
    with pytest.raises(ConfigError, match="strength must be a number from 0 to 1"):
        inverter.mix(*pair, [1], t)


def test_what_does_not_go_together_is_said(inverter, pair):
    first, second = pair
    with pytest.raises(SdicError, match="was made with generator ffffffffffff, and tiny has"):
        inverter.interpolate(first, replace(second, generator="f" * 64), 0.5)
    with pytest.raises(ConfigError, match="inversions by 'tiny' and by 'other' do not mix"):
        inverter.mix(first, replace(second, method="other"), [1])
    with pytest.raises(ConfigError, match="features of layers 3 and 5"):
        inverter.interpolate(first, replace(second, layer=5), 0.5)
    for rows in ([], [10], [-1], [True]):
        with pytest.raises(ConfigError, match="rows must be some of 0 to 9"):
            inverter.mix(first, second, rows)


def test_strengths_that_are_no_numbers_are_refused(inverter, pair):
    direction = sdic.Direction(torch.ones(64), name="age")
    with pytest.raises(ConfigError, match="strength of direction 'age' is not a finite number"):
        inverter.edit(pair[0], direction, float("nan"))
    with pytest.raises(ConfigError, match="not a finite number"):
        inverter.edit(pair[0], [direction, direction], [1.0, [0.0, float("inf")]])


def test_rows_in_words():
    assert parse_rows("8-17", 18) == list(range(8, 18))
    assert parse_rows("4, 0-1,4", 18) == [0, 1, 4]
    assert parse_rows("coarse", 18) == [0, 1, 2, 3]
    assert parse_rows("middle", 18) == [4, 5, 6, 7]
    assert parse_rows("fine", 18) == list(range(8, 18))
    assert parse_rows("fine", 10) == [8, 9]
    for words in ("", "18", "8-18", "9-8", "-1", "1-", "all", "coarse-2", "1,,2", "1.5"):
        with pytest.raises(ConfigError, match="of the rows 0 to 17, or coarse, middle, fine"):
            parse_rows(words, 18)
