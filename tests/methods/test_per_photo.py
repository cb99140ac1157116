"""PTI and the optimisation of codes: what they minimise, what they keep, and what others' result files hold."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import sdic
from sdic.checkpoints import read_bundle
from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.methods import build_inverter
from sdic.methods.pti import code_nearby, locality
from sdic.methods.search import as_written
from sdic.networks.portrait_nets import AttributeConfig, AttributeDistance, AttributeNet
from sdic.tiny import tiny_bundle
from sdic.types import Inversion
from tests.ada_pickles import _as_in_the_files, made


class Counting(nn.Module):
    """A perceptual distance that falls a little at each look, whatever it sees."""

    def __init__(self, *values: float):
        super().__init__()
        self.values = list(values)

    def forward(self, photo: Tensor, output: Tensor) -> Tensor:
        return torch.full((1,), self.values.pop(0)) + 0 * output.mean()


def built(method: str, network: nn.Module | None = None, **options: Any) -> Any:
    bundle = tiny_bundle(0)
    if network is not None:
        bundle.networks["perceptual"] = network
    return build_inverter(method, bundle, DOMAINS["tiny"].geometry, **options)


def error(inversion: Inversion, photo: Tensor) -> float:
    return float((inversion.image - photo).square().mean())


def test_more_steps_are_nearer_to_the_photo(photos: Tensor) -> None:
    photo = photos[:1]
    for method, rate, few, many in (("pti", 3e-3, 2, 25), ("wplus", 0.05, 2, 25)):
        options = {"perceptual": "none", "rate": rate, **({"pivot_steps": 5, "stop": 0.0} if method == "pti" else {})}
        worse, better = (built(method, steps=steps, **options).invert(photo) for steps in (few, many))
        assert error(better, photo) < 0.9 * error(worse, photo), method


def test_the_perceptual_network_counts_and_is_asked_for(photos: Tensor) -> None:
    network = AttributeDistance(AttributeNet(AttributeConfig(widths=(8, 8), hidden=8)).eval())
    plain = built("wplus", steps=6, perceptual="none").invert(photos[:1])
    seen = built("wplus", network, steps=6).invert(photos[:1])
    assert not torch.allclose(plain.latent, seen.latent)
    for method in ("pti", "wplus"):
        with pytest.raises(ConfigError, match="looks through a perceptual network and was given none"):
            built(method)
    with pytest.raises(CheckpointError, match="needs torchvision's AlexNet"):  # at the photo, not before
        sdic.load("tiny", "cpu", method="pti", pivot_steps=1).invert(photos[:1])


def test_tuning_ends_at_the_distance_before_its_step(photos: Tensor) -> None:
    steps: list[int] = []
    model = built("pti", Counting(*[1.0] * 2, 0.5, 0.2, 0.06, 0.01), pivot_steps=2, steps=9, stop=0.06)
    model.watch = lambda what, step, count: steps.append(step) if what == "tuning" else None
    model.invert(photos[:1])
    assert steps == [1, 2]  # the looks at 0.5 and 0.2 have their steps, that at 0.06 has none


def test_the_search_ends_where_it_is_told_to(photos: Tensor) -> None:
    for options, looks in (({"stop": 0.5}, [1.0, 0.7, 0.4, 0.3]), ({"patience": 2}, [1e3, 2e3, 3e3, 4e3, 5e3])):
        steps: list[int] = []
        model = built("wplus", Counting(*looks), steps=9, rate=1e-6, **options)
        model.watch = lambda what, step, count, steps=steps: steps.append(step)
        model.invert(photos[:1])
        assert steps == [1, 2], options


def test_w_has_one_code_and_w_plus_many(photos: Tensor) -> None:
    one, many = (built("wplus", steps=4, perceptual="none", space=space).invert(photos[:1]) for space in ("w", "w+"))
    assert torch.equal(one.latent, one.latent[:, :1].expand_as(one.latent))
    assert not torch.equal(many.latent, many.latent[:, :1].expand_as(many.latent))


def test_the_noise_maps_are_kept_and_used(photos: Tensor, tmp_path: Path) -> None:
    model = built("wplus", steps=4, perceptual="none")
    inversion = model.invert(photos[:1])
    assert len(inversion.extras) == model.generator.config.layers
    without = built("wplus", steps=4, perceptual="none", maps=False).invert(photos[:1])
    assert not without.extras
    inversion.save(tmp_path / "a.safetensors")
    again, direction = Inversion.load(tmp_path / "a.safetensors"), Direction(torch.randn(64))
    assert torch.equal(model.edit(again, direction, 1.0), model.edit(inversion, direction, 1.0))
    bare = model.generator.synthesis(inversion.latent)
    assert not torch.allclose(bare, inversion.image, atol=1e-3)


def test_the_generator_itself_is_left_alone_and_the_difference_is_half_the_size(photos: Tensor, tmp_path: Path) -> None:
    model = built("pti", steps=3, pivot_steps=2, perceptual="none")
    before = {name: value.clone() for name, value in model.generator.state_dict().items()}
    inversion = model.invert(photos[:1])
    assert all(torch.equal(before[name], value) for name, value in model.generator.state_dict().items())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    weights = sum(value.numel() for value in model.generator.synthesis.parameters())
    inversion.save(tmp_path / "a.safetensors")
    rest = sum(4 * value.numel() for name, value in inversion.tensors() if not name.startswith("extras"))
    size = (tmp_path / "a.safetensors").stat().st_size
    assert 2 * weights + rest < size < 2 * weights + rest + 20_000  # and the header
    again, direction = Inversion.load(tmp_path / "a.safetensors"), Direction(torch.randn(64))
    assert torch.equal(model.edit(again, direction, 0.7), model.edit(inversion, direction, 0.7))
    other = build_inverter("pti", tiny_bundle(0), DOMAINS["tiny"].geometry, perceptual="none")
    torch.testing.assert_close(other.edit(again, direction, 0.7), model.edit(inversion, direction, 0.7))
    untuned = model.generator.synthesis(inversion.latent)
    assert not torch.allclose(untuned, inversion.image, atol=1e-4)


def test_an_edit_is_in_the_tuned_generator(photos: Tensor) -> None:
    model = sdic.load("tiny", "cpu", method="pti", perceptual="none", steps=3, pivot_steps=2, rate=3e-3)
    inversion, direction = model.invert(photos), Direction(torch.randn(64))
    for index, picture in enumerate(model.edit(inversion, direction, 1.5)):
        tuned: Any = model.synthesis_of(inversion[index].extras)  # type: ignore[attr-defined]
        with torch.no_grad():
            expected = tuned(inversion[index].latent + 1.5 * direction.delta)
        torch.testing.assert_close(picture[None], expected, atol=1e-5, rtol=1e-5)


def test_locality_keeps_what_is_elsewhere(photos: Tensor) -> None:
    found = {}
    for weight in (0.0, 3e3):
        model = built("pti", steps=12, pivot_steps=2, perceptual="none", rate=3e-3, locality=weight)
        inversion = model.invert(photos[:1])
        generator, z = model.generator, torch.randn(1, 64, generator=torch.Generator().manual_seed(5))
        code = code_nearby(generator, inversion.latent, z)
        assert float((code - inversion.latent).norm()) == pytest.approx(30.0, rel=1e-4)
        with torch.no_grad():
            found[weight] = float(locality(model.synthesis_of(inversion.extras), generator.synthesis, code, None))
    assert found[3e3] < 0.8 * found[0.0]


def test_any_encoder_gives_the_pivot(photos: Tensor) -> None:
    options: dict[str, Any] = {"perceptual": "none", "steps": 2}
    code = sdic.load("tiny-e4e", "cpu").invert(photos[:1]).latent
    model = sdic.load("tiny-e4e", "cpu", refine="pti", **options)
    assert torch.equal(model.invert(photos[:1]).latent, code)
    between = {"wplus.perceptual": "none", "wplus.steps": 3}
    chain = sdic.load("tiny-e4e", "cpu", refine="wplus+pti", **options, **between)
    inversion = chain.invert(photos[:1])
    assert chain.name == "tiny-e4e+wplus+pti"
    assert not torch.allclose(inversion.latent, code)


def test_it_looks_at_photos_at_full_size() -> None:
    bundle, geometry = tiny_bundle(0), DOMAINS["car"].geometry
    assert geometry.crop is not None
    small = type(geometry)(64, (24, 32), (8, 56, 0, 64))
    model = build_inverter("pti", bundle, small, **built("pti", perceptual="none").tiny)
    assert model.geometry.input_size == (48, 64)
    assert model.measured == small
    inversion = model.invert(torch.rand(1, 3, 96, 128) * 2 - 1)
    assert inversion.photo is not None
    assert inversion.photo.shape == (1, 3, 48, 64)
    assert inversion.image.shape == (1, 3, 64, 64)


# Files of others ------------------------------------------------------------------------------------------------------


def as_pti_saves(path: Path, generator: nn.Module) -> Path:
    """torch.save of the whole generator, an object of NVIDIA's program."""
    with _as_in_the_files(_reconstruct_persistent_obj="torch_utils.persistence", EasyDict="dnnlib.util"):
        torch.save(generator, path)
    return path


def test_the_authors_tuned_generator_and_pivot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, tuned = made(3), made(3)
    for value in tuned.synthesis.parameters():
        value.add_(0.05 * torch.randn_like(value))
    width, rows = base.w_dim, base.num_ws
    monkeypatch.setattr("torch.serialization.location_tag", lambda storage: "cuda:0")
    pivot = (torch.randn(1, 1, width, requires_grad=True) * 1.0).repeat(1, rows, 1)
    torch.save(pivot, tmp_path / "0.pt")
    file = as_pti_saves(tmp_path / "model_ABCDEFGHIJKL_me.pt", tuned)
    monkeypatch.undo()
    pivot = pivot.detach()
    with pytest.warns(UserWarning, match="squares of"):
        model: Any = sdic.load(file, "cpu", method="pti", perceptual="none", optimize=False)
    with torch.no_grad():
        expected = tuned.synthesis(pivot)
    torch.testing.assert_close(model.from_latent(pivot).image, expected, atol=2e-5, rtol=1e-5)
    from sdic.editing.directions import read_arrays

    assert torch.equal(read_arrays(tmp_path / "0.pt"), pivot)
    with pytest.warns(UserWarning, match="squares of"):
        start: Any = sdic.load(as_pti_saves(tmp_path / "base.pt", base), "cpu", method="pti", perceptual="none")
    inversion = start.of_tuned(pivot, model.generator.synthesis)  # the same as a difference to the base
    torch.testing.assert_close(inversion.image, expected, atol=2e-3, rtol=1e-3)
    with pytest.raises(ConfigError, match="not tuned from this one"):
        start.of_tuned(pivot, read_bundle(as_pti_saves(tmp_path / "o.pt", made(4))).networks["generator"].synthesis)


@pytest.mark.parametrize("place", ["", "G_ema"])
def test_a_tuned_state_dict(tmp_path: Path, place: str) -> None:
    original = made(3)
    state = original.state_dict()
    torch.save({place: state} if place else state, tmp_path / "tuned.pt")
    bundle = read_bundle(tmp_path / "tuned.pt")
    assert "without settings" in bundle.source["assumed"]
    generator: Any = bundle.networks["generator"]
    z = torch.randn(2, original.w_dim)
    torch.testing.assert_close(generator(z), original(z), atol=2e-5, rtol=1e-5)


def test_the_plain_copy_is_the_same_network(photos: Tensor) -> None:
    model = sdic.load("tiny-e4e", "cpu")
    code = model.invert(photos[:1]).latent
    with torch.no_grad():
        plain, fast = as_written(model.generator.synthesis)(code), model.generator.synthesis(code)
    torch.testing.assert_close(plain, fast, atol=1e-5, rtol=1e-5)
    assert np.isfinite(plain.numpy()).all()


@pytest.mark.parametrize("method", ["pti", "wplus"])
def test_what_only_the_method_can_draw_is_edited_by_it_alone(photos: Tensor, method: str) -> None:
    model = sdic.load("tiny-e4e", "cpu", refine=method, perceptual="none", steps=2)
    inversion, direction = model.invert(photos[:1]), Direction(torch.randn(64))
    with pytest.raises(SdicError, match=rf"made by tiny-e4e\+{method}, holds .* tiny-e4e does not draw with that"):
        sdic.load("tiny-e4e", "cpu").edit(inversion, direction, 1.0)
    name, part = next(iter(inversion.extras.items()))
    for extras in ({**inversion.extras, name: part[..., :1]}, {f"{name}x": part}):
        with pytest.raises((CheckpointError, ValueError), match=r"damaged inversion|must be one of"):
            model.edit(replace(inversion, extras=extras), direction, 1.0)


@pytest.mark.parametrize("method", ["pti", "wplus"])
def test_lower_precision_draws_and_does_not_optimise(photos: Tensor, method: str) -> None:
    options: dict[str, Any] = {"perceptual": "none", "steps": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is slow on some processors
        low = sdic.load("tiny", "cpu", method=method, precision="bf16", **options)
    exact = sdic.load("tiny", "cpu", method=method, **options)
    if method == "pti":
        low.options.pivot_steps = exact.options.pivot_steps = 3
    rounded, inversion = low.invert(photos[:1]), exact.invert(photos[:1])
    assert rounded.image.dtype == rounded.latent.dtype == torch.float32
    assert torch.equal(rounded.latent, inversion.latent)
    assert 0 < (rounded.image - inversion.image).abs().mean() < 0.1 * inversion.image.std()
