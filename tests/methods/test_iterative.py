"""What pSp, ReStyle and HyperStyle have beside the interface that all methods share (test_interface.py)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import sdic
from sdic.checkpoints import read_bundle, write_native
from sdic.cli import main
from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.errors import ConfigError
from sdic.methods import build_inverter
from sdic.networks.hyperstyle import HyperNetConfig, WEncoder, WEncoderConfig
from sdic.networks.resnet import ResNetBody
from sdic.tiny import tiny_bundle
from sdic.types import Inversion

NAMES = ("psp", "restyle", "hyperstyle")
DIRECTION = Direction(torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(0)), dim=0))


def tiny(method: str, **options: Any) -> Any:
    bundle = tiny_bundle(0, method=method)
    return build_inverter(method, bundle, DOMAINS["tiny"].geometry, **options)


@pytest.mark.parametrize("method", NAMES)
def test_models_from_a_seed_files_and_their_fast_forms_agree(method: str, photos: torch.Tensor, tmp_path: Path) -> None:
    plain, fast = tiny(method), sdic.load(f"tiny-{method}", "cpu")
    bundle = tiny_bundle(0, method=method)
    write_native(tmp_path / "a.safetensors", bundle.networks, {**bundle.source, "method": method})
    filed = sdic.load(tmp_path / "a.safetensors", "cpu", optimize=False)
    assert vars(filed.options) == vars(fast.options)
    plain = plain if method == "psp" else tiny(method, passes=fast.options.passes)
    expected = plain.invert(photos)
    for other in (fast, filed):
        found = other.invert(photos)
        torch.testing.assert_close(found.image, expected.image, atol=1e-4, rtol=1e-4)
        edits = [one.edit(expected, DIRECTION, 1.0) for one in (other, plain)]
        torch.testing.assert_close(*edits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", NAMES)
def test_the_networks_agree_on_batches(method: str, photos: torch.Tensor) -> None:
    """What a GPU does: the whole batch at once, against one by one."""
    inverter = tiny(method)
    singles = inverter.invert(photos)
    inverter._portions = lambda photo: [photo]
    together = inverter.invert(photos)
    torch.testing.assert_close(together.image, singles.image, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("method", ["restyle", "hyperstyle"])
def test_every_pass_sees_what_the_one_before_has_drawn(method: str, photos: torch.Tensor) -> None:
    inverter = tiny(method, passes=3)
    with torch.no_grad():
        found = list(inverter.passes(photos))
    assert len(found) == 3
    assert not torch.allclose(found[1].image, found[2].image)
    fewer = tiny(method, passes=2).invert(photos)
    torch.testing.assert_close(fewer.image, found[1].image, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match="passes must be at least 1"):
        tiny(method, passes=0)


def test_restyle_looks_at_the_average_picture_first(photos: torch.Tensor) -> None:
    inverter = tiny("restyle", passes=1)
    mean = inverter.encoder.latent_avg
    with torch.no_grad():
        shown = inverter.generator.synthesis(mean[None])
        pair = torch.cat([photos[:1], shown], 1)
        expected = mean + inverter.encoder.offsets(pair)
    inversion = inverter.invert(photos[:1])
    torch.testing.assert_close(inversion.latent, expected)
    assert torch.equal(inversion.base_latent[0], mean)


def test_hyperstyle_keeps_vectors_from_which_the_weights_come_again(photos: torch.Tensor, tmp_path: Path) -> None:
    """The sum of what all passes found, layer by layer, is what the stored vectors give: the cheap form is exact."""
    inverter = tiny("hyperstyle", passes=3)
    network = inverter.hypernet
    whole: dict[int, torch.Tensor] = {}
    latent = inverter.encoder(photos, 1)
    shown, one = inverter.generator.synthesis(latent), torch.ones(3)
    with torch.no_grad():
        for _ in range(3):
            found = network.gains(network(torch.cat([photos, shown], 1)), one)
            whole = {layer: found[layer] + whole.get(layer, 0) for layer in found}
            shown = inverter.generator.synthesis(latent, changes=sdic.changes.Changes(weight_gains=whole))
    inversion = inverter.invert(photos)
    torch.testing.assert_close(inversion.image, shown, atol=1e-4, rtol=1e-4)
    inversion.save(tmp_path / "a.safetensors")
    again = Inversion.load(tmp_path / "a.safetensors")
    assert again.extras["vectors"].shape == (3, 9, 24)
    gains = network.gains(again.extras["vectors"], again.extras["passes"])
    assert sorted(gains) == list(range(9))
    for layer, gain in gains.items():
        torch.testing.assert_close(gain, whole[layer], atol=1e-4, rtol=1e-4)
    assert torch.equal(inverter.edit(again, DIRECTION, 1.5), inverter.edit(inversion, DIRECTION, 1.5))
    kept = inverter.edit(again, DIRECTION, 1.5)
    alone = inverter.edit(inverter.from_latent(inversion.latent), DIRECTION, 1.5)
    assert not torch.allclose(kept, alone, atol=1e-3)


def test_hyperstyle_begins_in_w_and_may_begin_in_w_plus(photos: torch.Tensor) -> None:
    inverter = tiny("hyperstyle", passes=1)
    latent = inverter.invert(photos).latent
    assert torch.equal(latent, latent[:, :1].expand_as(latent))
    torch.testing.assert_close(tiny("hyperstyle", passes=1, space="w+").invert(photos).latent, inverter.encoder(photos))
    networks = dict(tiny_bundle(0, method="hyperstyle").networks)
    networks["encoder"] = WEncoder(WEncoderConfig(64, (1, 1, 1, 1), (8, 8, 8, 8), 64)).eval()
    assert type(inverter).fits(networks)
    own: Any = type(inverter)(networks, DOMAINS["tiny"].geometry)
    with torch.no_grad():
        rows = [networks["encoder"](photos) + row for row in own.hypernet.latent_avg]
        torch.testing.assert_close(own._code(photos), torch.stack(rows, 1))


def test_encoders_of_other_methods_do_not_fit() -> None:
    from sdic.methods import METHODS

    networks = {name: tiny_bundle(0, method=name).networks for name in ("e4e", "psp", "restyle")}
    for method, own in networks.items():
        assert METHODS[method].fits(own)
        assert not any(METHODS[other].fits(own) for other in networks if other != method)


def test_bodies_and_switches_are_checked() -> None:
    features = ResNetBody((1, 2, 1, 1), (4, 8, 8, 16), channels=6)(torch.randn(1, 6, 64, 96))
    assert [tuple(x.shape[1:]) for x in features] == [(4, 32, 48), (8, 16, 24), (8, 8, 12), (16, 4, 6)]
    bundle = tiny_bundle(0, method="restyle", pyramid=True, relative=False)
    encoder: Any = bundle.networks["encoder"]
    assert encoder.lateral1 is not None
    with pytest.raises(ConfigError, match="resnet without a pyramid"):
        replace(encoder.config, body="resnet")
    tiny_bundle(0, method="restyle", body="resnet")
    sizes: dict[str, Any] = {"inputs": (8, 8), "outputs": (8, 8), "latent_rows": 3, "style_dim": 8}
    with pytest.raises(ConfigError, match="changes layers"):
        HyperNetConfig(**sizes, layers=(2,))
    with pytest.raises(ConfigError, match="power of two"):
        HyperNetConfig(**sizes, layers=(1,), input_size=48)


def test_a_training_may_start_from_a_file_that_fits(tmp_path: Path) -> None:
    for method, wrong in (("psp", {"widths": [8, 8, 8, 8]}), ("hyperstyle", {"shared": False})):
        bundle = tiny_bundle(0, method=method)
        kind = type(tiny(method))
        write_native(tmp_path / "a.safetensors", bundle.networks)
        held = read_bundle(tmp_path / "a.safetensors").networks
        geometry, generator = DOMAINS["tiny"].geometry, bundle.networks["generator"]
        made = kind.trainable(kind.Settings(**kind.tiny), generator, geometry, held)
        assert all(made[role] is held[role] for role in kind.trains)
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            kind.trainable(kind.Settings(**{**kind.tiny, **wrong}), generator, geometry, held)


@pytest.mark.parametrize("method", NAMES)
def test_a_folder_is_edited_and_so_are_its_saved_inversions(method: str, photos: torch.Tensor, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for index, photo in enumerate(photos[:2]):
        levels = ((photo + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(levels).save(folder / f"{index}.png")
    words = ["--model", f"tiny-{method}", "--device", "cpu", "--edit", "pc0=2"]
    assert main(["edit", str(folder), "--out", str(tmp_path / "out"), "--save-inversions", *words]) == 0
    saved = str(tmp_path / "out" / "inversions")
    assert main(["edit", saved, "--out", str(tmp_path / "again"), *words]) == 0
    for name in ("inversion/0.png", "pc0=2/0.png", "pc0=2/1.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert (tmp_path / "out" / "pc0=2/0.png").read_bytes() != (tmp_path / "out" / "inversion/0.png").read_bytes()


@pytest.mark.parametrize("method", NAMES)
def test_bf16_stays_close(method: str, photos: torch.Tensor) -> None:
    exact, lower = (sdic.load(f"tiny-{method}", "cpu", precision=name) for name in ("fp32", "bf16"))
    inversion, other = exact.invert(photos[:1]), lower.invert(photos[:1])
    assert other.image.dtype == torch.float32
    assert 0 < (other.image - inversion.image).abs().mean() < 0.1 * inversion.image.std()
    edits = [one.edit(inversion, DIRECTION, 1.0) for one in (exact, lower)]
    assert 0 < (edits[0] - edits[1]).abs().mean() < 0.1 * edits[0].std()


def test_a_new_encoder_may_begin_with_the_body_of_another(tmp_path: Path) -> None:
    held = tiny_bundle(4, method="psp").networks
    write_native(tmp_path / "a.safetensors", {"encoder": held["encoder"]})
    expected: Any = held["encoder"]
    for method in ("psp", "restyle"):
        made: Any = tiny_bundle(0, method=method, body_from=str(tmp_path / "a.safetensors")).networks["encoder"]
        own = tiny_bundle(0, method=method).networks["encoder"]
        for name, value in made.body.state_dict().items():
            assert torch.equal(value[:, :3] if name == "stem.conv.weight" else value, expected.body.state_dict()[name])
        assert torch.equal(made.heads[0].linear.weight, own.heads[0].linear.weight)  # type: ignore[union-attr, index]
    for path, said in ((tmp_path / "b.safetensors", "no such file"), (tmp_path / "a.safetensors", "holds no body")):
        with pytest.raises(ConfigError, match=said):
            tiny_bundle(0, method="psp", body_from=str(path), widths=[8, 8, 8, 8])
