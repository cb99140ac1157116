"""The interface that every method shares, swept over the registry."""

from __future__ import annotations

import copy
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest
import torch

import sdic
from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.methods import METHODS, build_inverter
from sdic.methods.options import options_in
from sdic.tiny import LAYER, tiny_bundle
from sdic.types import Inversion


@pytest.fixture(scope="module", params=METHODS)
def inverter(request: pytest.FixtureRequest) -> sdic.Inverter:
    bundle = tiny_bundle(0, method=request.param)
    options = options_in(bundle.source, METHODS[request.param].Options)
    return build_inverter(request.param, bundle, DOMAINS["tiny"].geometry, **options)


@pytest.fixture
def direction() -> Direction:
    return Direction(torch.nn.functional.normalize(torch.randn(64), dim=0), name="test")


def test_inversion_is_complete(inverter: sdic.Inverter, photos: torch.Tensor) -> None:
    inversion = inverter.invert(photos)
    assert len(inversion) == 3
    assert inversion.image.shape == (3, 3, 64, 64)
    assert inversion.latent.shape == inversion.base_latent.shape == (3, 10, 64)
    assert inversion.photo is not None
    assert torch.equal(inversion.photo, photos)
    assert all(torch.isfinite(tensor).all() and not tensor.requires_grad for _, tensor in inversion.tensors())
    assert inversion.generator == inverter.fingerprint


def test_a_batch_equals_singles(inverter: sdic.Inverter, photos: torch.Tensor) -> None:
    whole = inverter.invert(photos)
    for index in range(3):
        single = inverter.invert(photos[index : index + 1])
        for (name, one), (_, part) in zip(single.tensors(), whole[index].tensors(), strict=True):
            torch.testing.assert_close(one, part, atol=1e-5, rtol=1e-5, msg=name)


def test_the_networks_agree_on_batches(photos: torch.Tensor) -> None:
    """What a GPU does: the whole batch at once, against one by one."""
    inverter = build_inverter("sdic", tiny_bundle(0), DOMAINS["tiny"].geometry, layer=LAYER)
    singles = inverter.invert(photos)
    inverter._portions = lambda photo: [photo]  # type: ignore[method-assign]
    together = inverter.invert(photos)
    torch.testing.assert_close(together.image, singles.image, atol=1e-4, rtol=1e-4)


def test_strength_zero_is_the_inversion_bit_for_bit(
    inverter: sdic.Inverter, photos: torch.Tensor, direction: Direction
) -> None:
    inversion = inverter.invert(photos)
    assert torch.equal(inverter.edit(inversion, direction, 0), inversion.image)
    mixed = inverter.edit(inversion, direction, torch.tensor([0.0, 2.0, 0.0]))
    assert torch.equal(mixed[[0, 2]], inversion.image[[0, 2]])
    assert not torch.allclose(mixed[1], inversion.image[1])


def test_strength_zero_is_no_special_case(inverter: sdic.Inverter, photos: torch.Tensor, direction: Direction) -> None:
    """The way through the networks leads to the inversion as well: continuous at 0, and equal at 0."""
    inversion = inverter.invert(photos[:1])
    with torch.no_grad():
        rendered = inverter._edit(inversion, [direction], [torch.zeros(1)])
    torch.testing.assert_close(rendered, inversion.image, atol=1e-5, rtol=1e-5)
    nearby = inverter.edit(inversion, direction, 1e-4)
    assert (nearby - inversion.image).abs().max() < 0.01


def test_a_sweep_is_one_call(inverter: sdic.Inverter, photos: torch.Tensor, direction: Direction) -> None:
    inversion = inverter.invert(photos[:1])
    sweep = inverter.edit(inversion, direction, [-2, 0, 1.5])
    assert sweep.shape == (3, 3, 64, 64)
    for image, strength in zip(sweep, (-2, 0, 1.5), strict=True):
        torch.testing.assert_close(image[None], inverter.edit(inversion, direction, strength))


def test_an_edit_does_not_invert_again(
    inverter: sdic.Inverter, photos: torch.Tensor, direction: Direction, monkeypatch: pytest.MonkeyPatch
) -> None:
    inversion = inverter.invert(photos)
    calls: list[object] = []
    monkeypatch.setattr(inverter, "_invert", lambda *_: calls.append(1))
    parts = [getattr(inverter, role) for role in inverter.networks if role != "generator"]

    def looked(network: object, given: tuple[object, ...]) -> None:
        seen = [x for x in given if isinstance(x, torch.Tensor)]
        calls.extend(x for x in seen if any(torch.equal(x, photo) for photo in photos.split(1)))

    hooks = [part.register_forward_pre_hook(looked) for part in parts]
    try:
        inverter.edit(inversion, direction, [1, 2, 3])
    finally:
        for hook in hooks:
            hook.remove()
    assert not calls


def test_directions_at_once(inverter: sdic.Inverter, photos: torch.Tensor, direction: Direction) -> None:
    other = Direction(torch.randn(10, 64), rows=(4, 7))
    inversion = inverter.invert(photos[:1])
    both = inverter.edit(inversion, [direction, other], [1.0, 0.5])
    joined = Direction(direction.delta + 0.5 * other.shift(torch.zeros(1, 10, 64), 1.0)[0])
    torch.testing.assert_close(both, inverter.edit(inversion, joined, 1.0), atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="as many strengths"):
        inverter.edit(inversion, [direction, other], [1.0])


def test_set_directions_reach_their_coordinate(inverter: sdic.Inverter, photos: torch.Tensor) -> None:
    component = torch.nn.functional.normalize(torch.randn(64), dim=0)
    origin = torch.randn(64)
    target = Direction(component, "set", rows=(0, 4), origin=origin, scale=2.5)
    latent = inverter.invert(photos).latent
    moved = latent + target.shift(latent, 1.5)
    torch.testing.assert_close((moved[:, 0] - origin) @ component / 2.5, torch.full((3,), 1.5))
    assert torch.equal(moved[:, 4:], latent[:, 4:])
    assert not target.is_identity(0.0)  # strength 0 means "to the mean" here


def test_rules(photos: torch.Tensor, direction: Direction) -> None:
    """eq. 6 moves F' by G_k(w + edit) - G_k(w); the release by G_k(w' + edit) - G_k(w)."""
    inverter = sdic.load("tiny", "cpu")
    inversion = inverter.invert(photos[:1])
    until, shift = inverter.generator.synthesis.until, direction.shift(inversion.latent, 2.0)
    assert inversion.feature is not None
    with torch.no_grad():
        for rule, start in (("paper", inversion.base_latent), ("released", inversion.latent)):
            feature = (
                inversion.feature + until(LAYER, start + shift).feature - until(LAYER, inversion.base_latent).feature
            )
            expected = inverter.render(inversion.latent + shift, feature, LAYER)
            torch.testing.assert_close(
                inverter.edit(inversion, direction, 2.0, rule=rule), expected, atol=1e-4, rtol=1e-4
            )
    assert not torch.equal(inverter.edit(inversion, direction, 0, rule="released"), inversion.image)
    with pytest.raises(ConfigError, match="rule"):
        inverter.edit(inversion, direction, 1, rule="authors")


@pytest.mark.parametrize("layer", range(9))
@pytest.mark.parametrize("preset", ["released", "paper"])
def test_any_layer_can_be_compensated(photos: torch.Tensor, direction: Direction, layer: int, preset: str) -> None:
    bundle = tiny_bundle(0, preset=preset, layer=layer)
    inverter = build_inverter("sdic", bundle, DOMAINS["tiny"].geometry, layer=layer)
    inversion = inverter.invert(photos[:1])
    assert inversion.feature is not None
    size = inverter.generator.config.layer_resolution(layer)
    assert inversion.feature.shape[2:] == (size, size)
    assert torch.isfinite(inverter.edit(inversion, direction, 1.0)).all()


def test_edit_then_compensate(photos: torch.Tensor, direction: Direction) -> None:
    """Figure 4c: the other order is another picture, and at strength 0 the same one."""
    ours = sdic.load("tiny", "cpu")
    other = sdic.load("tiny", "cpu", paradigm="edit-compensate")
    inversion = ours.invert(photos[:1])
    assert not torch.allclose(other.edit(inversion, direction, 2.0), ours.edit(inversion, direction, 2.0), atol=1e-3)
    with torch.no_grad():
        nothing = other._edit(inversion, [direction], [torch.zeros(1)])
    torch.testing.assert_close(nothing, inversion.image, atol=1e-4, rtol=1e-4)


def test_inversions_save_load_index_and_join(tiny: sdic.Inverter, photos: torch.Tensor, tmp_path: Path) -> None:
    inversion = tiny.invert(photos)
    inversion.save(tmp_path / "a.safetensors")
    again = Inversion.load(tmp_path / "a.safetensors")
    assert again.method == "tiny"
    joined = Inversion.cat([again[0], again[1:]])
    for (name, got), (_, expected) in zip(joined.tensors(), inversion.tensors(), strict=True):
        assert torch.equal(got, expected), name
    assert (joined.layer, joined.generator, len(joined)) == (LAYER, tiny.fingerprint, 3)
    assert torch.equal(inversion[-1].image, inversion.image[2:])
    assert inversion.to(torch.float64).latent.dtype == torch.float64
    assert len(list(inversion)) == 3
    with pytest.raises(FrozenInstanceError):
        inversion.latent = inversion.base_latent  # type: ignore[misc]
    with pytest.raises(ValueError, match="cannot join"):
        Inversion.cat([inversion, replace(inversion, layer=5)])
    with pytest.raises(ValueError, match="cannot join inversions that hold"):
        Inversion.cat([inversion, replace(inversion, extras={})])
    (tmp_path / "b.safetensors").write_bytes((tmp_path / "a.safetensors").read_bytes()[:300])
    with pytest.raises(CheckpointError, match="not a readable"):
        Inversion.load(tmp_path / "b.safetensors")


def test_extras_travel_with_an_inversion(tmp_path: Path) -> None:
    """What a method keeps of its own is indexed, joined, moved, saved and read without a line of code for it."""
    code, photo = torch.randn(3, 10, 64), torch.randn(3, 3, 8, 8)
    masks = {"masks": torch.rand(3, 1, 4, 4), "weights.4": torch.randn(3, 2, 2, 1, 1), "image": torch.randn(3, 5)}
    inversion = Inversion(photo, code, code + 1, extras=masks)
    assert [name for name, _ in inversion.tensors()][3:] == ["extras.image", "extras.masks", "extras.weights.4"]
    assert torch.equal(inversion[1].extras["masks"], masks["masks"][1:2])
    assert torch.equal(Inversion.cat([inversion[:1], inversion[1:]]).extras["weights.4"], masks["weights.4"])
    assert inversion.to(torch.float64).extras["masks"].dtype == torch.float64
    masks["masks"].requires_grad_()
    assert not inversion.detach().extras["masks"].requires_grad
    inversion.save(tmp_path / "a.safetensors")
    again = Inversion.load(tmp_path / "a.safetensors")
    assert again.extras.keys() == masks.keys()
    assert all(torch.equal(again.extras[name], masks[name]) for name in masks)
    assert torch.equal(again.image, photo)
    with pytest.raises(ValueError, match=r"extras\.masks holds 2 images, latent holds 3"):
        Inversion(photo, code, code, extras={"masks": torch.rand(2, 1)})


def test_files_of_the_version_before_extras_are_read(tmp_path: Path) -> None:
    """There, base_feature, initial_image and discrepancy were fields, and stand in the file under their bare names."""
    from safetensors.torch import save_file

    code = torch.randn(2, 10, 64)
    former = {name: torch.randn(2, 3, 4, 4) for name in ("base_feature", "initial_image", "discrepancy")}
    tensors = {"image": torch.randn(2, 3, 4, 4), "latent": code, "base_latent": code + 1}
    tensors["feature"] = torch.ones(2, 3, 4, 4)
    header = {"format": "sdic.inversion", "method": "tiny", "generator": "abc", "layer": "3"}
    save_file(tensors | former, tmp_path / "old.safetensors", metadata=header)
    inversion = Inversion.load(tmp_path / "old.safetensors")
    assert inversion.extras.keys() == former.keys()
    assert all(torch.equal(inversion.extras[name], former[name]) for name in former)
    assert torch.equal(inversion.base_latent, code + 1)
    assert (inversion.layer, inversion.method, inversion.generator) == (3, "tiny", "abc")
    save_file(tensors | {"extras": torch.zeros(2)}, tmp_path / "odd.safetensors", metadata=header)
    with pytest.raises(CheckpointError, match="unexpected"):
        Inversion.load(tmp_path / "odd.safetensors")


def test_an_inversion_belongs_to_its_generator(tiny: sdic.Inverter, photos: torch.Tensor, direction: Direction) -> None:
    other = build_inverter("e4e", tiny_bundle(1), DOMAINS["tiny"].geometry)
    with pytest.raises(SdicError, match="invert the photo again"):
        other.edit(tiny.invert(photos), direction, 1.0)


def test_bad_input_is_refused(tiny: sdic.Inverter, photos: torch.Tensor, direction: Direction) -> None:
    for bad, message in ((photos[0], r"\[B, 3, H, W\]"), (photos[:0], "B > 0"), ((photos * 255).byte(), "floating")):
        with pytest.raises(ValueError, match=message):
            tiny.invert(bad)
    inversion = tiny.invert(photos)
    with pytest.raises(ValueError, match="do not go with"):
        tiny.edit(inversion, direction, [1.0, 2.0])
    with pytest.raises(ConfigError, match="another generator"):
        tiny.edit(inversion, Direction(torch.randn(512)), 1.0)
    with pytest.raises(ConfigError, match="layers 0"):
        sdic.load("tiny", layer=40)


def test_photos_of_other_sizes_are_resized(tiny: sdic.Inverter) -> None:
    inversion = tiny.invert(torch.rand(1, 3, 150, 150) * 2 - 1)
    assert inversion.photo is not None
    assert inversion.photo.shape == (1, 3, 64, 64)


def test_inverters_stay_frozen(tiny: sdic.Inverter, photos: torch.Tensor) -> None:
    before = copy.deepcopy(tiny.state_dict())
    tiny.train()
    assert not any(module.training for module in tiny.modules())
    tiny.invert(photos)
    assert all(torch.equal(before[name], value) for name, value in tiny.state_dict().items())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_stays_close(tiny: sdic.Inverter, photos: torch.Tensor, precision: str) -> None:
    inverter = sdic.load("tiny", "cpu", precision=precision)
    inversion, exact = inverter.invert(photos), tiny.invert(photos)
    assert inversion.image.dtype == torch.float32
    assert 0 < (inversion.image - exact.image).abs().mean() < 0.1 * exact.image.std()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_devices_agree(tiny: sdic.Inverter, photos: torch.Tensor, direction: Direction) -> None:
    gpu = sdic.load("tiny", torch.device(torch.accelerator.current_accelerator() or "cpu"))
    there, here = gpu.invert(photos), tiny.invert(photos)
    torch.testing.assert_close(there.image.cpu(), here.image, atol=1e-2, rtol=1e-2)
    edited = gpu.edit(here, direction, 1.0)  # an inversion moves to the model's device by itself
    torch.testing.assert_close(edited.cpu(), tiny.edit(here, direction, 1.0), atol=1e-2, rtol=1e-2)
