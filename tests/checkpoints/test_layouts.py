"""Files as people bring them: what they say is obeyed or refused, what they leave open is printed.

Harmless variants are read, and a message names the expected key beside the one that was found."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from sdic.checkpoints import read_bundle, read_foreign, write_native
from sdic.checkpoints.keymap import rename
from sdic.checkpoints.layouts import FORMATS, stylegan2
from sdic.errors import CheckpointError, SdicError
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.identity import MoCoEmbedder
from sdic.networks.stylegan2 import GeneratorConfig
from sdic.tiny import tiny_bundle
from tests.checkpoints.test_files import CONFIG, rosinality_keys
from tests.checkpoints.test_keymaps import LISTS, keys_below
from tests.golden_weights import draw, key_shapes

OPTIONS = {"encoder_type": "Encoder4Editing", "start_from_latent_avg": True, "dataset_type": "my_encode"}


def e4e(resolution: int = 64, **changes: Any) -> dict[str, Any]:
    """A file of the e4e family; the encoder's numbers are all zero and take no memory."""
    sizes = GeneratorConfig(resolution, mapping_layers=1, channels=(4,) * (resolution.bit_length() - 2))
    state = {f"decoder.{key}": draw(key, shape) for key, shape in rosinality_keys(sizes).items()}
    for key, shape in key_shapes("e4e_ffhq_encode").items():
        part, _, rest = key.partition(".styles.")
        if part == "encoder" and int(rest.split(".")[0]) < sizes.latent_rows:
            state[key] = torch.zeros(()).expand(shape)
        elif key.startswith("encoder.") and not rest:
            count = key.endswith("num_batches_tracked")
            state[key] = torch.zeros((), dtype=torch.int64 if count else torch.float32).expand(shape)
    content = {"state_dict": state, "latent_avg": torch.ones(sizes.latent_rows, 512), "opts": {**OPTIONS}}
    return {**content, **changes}


def generator_state() -> dict[str, torch.Tensor]:
    return {key: draw(key, shape) for key, shape in rosinality_keys(CONFIG).items()}


# Options --------------------------------------------------------------------------------------------------------------


def test_psp_has_rows_of_its_own() -> None:
    assert read_foreign(e4e(), "e4e.pt").networks["encoder"].config.relative
    for kind in (dict, argparse.Namespace):
        content = e4e(opts=kind(**{**OPTIONS, "encoder_type": "GradualStyleEncoder"}))
        bundle = read_foreign(content, "psp.pt")
        assert not bundle.networks["encoder"].config.relative
        assert bundle.source["layout"] == "psp"
    sizes = {"latent_rows": 8, "style_dim": 8, "blocks": (1, 1, 1, 1), "widths": (4, 4, 4, 4), "input_size": 64}
    ours, theirs = E4E(E4EConfig(**sizes)).eval(), E4E(E4EConfig(**sizes, relative=False)).eval()
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        code, rows = ours(photo := torch.randn(2, 3, 64, 64)), theirs(photo)
    torch.testing.assert_close(rows[:, 0], code[:, 0])
    torch.testing.assert_close(rows[:, 1:], code[:, 1:] - code[:, :1])
    assert (rows[:, 1:] - code[:, 1:]).norm() > 0.1 * code.norm()


def test_start_from_latent_avg_is_obeyed() -> None:
    for start, mean in ((True, 1.0), (False, 0.0)):
        bundle = read_foreign(e4e(opts={**OPTIONS, "start_from_latent_avg": start}), "file.pt")
        assert torch.equal(bundle.networks["encoder"].latent_avg, torch.full((10, 512), mean))
        assert torch.equal(bundle.networks["generator"].latent_avg, torch.ones(512))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_type": "BackboneEncoder"}, "its encoder_type is 'BackboneEncoder'"),
        ({"learn_in_w": True}, "learn_in_w is on"),
        ({"start_from_latent_avg": "yes"}, "start_from_latent_avg is 'yes'"),
        ({"stylegan_size": 1024}, "stylegan_size is 1024, but its generator draws 64 px"),
        ({"output_size": 128}, "output_size is 128, but its generator draws 64 px"),
        ({"dataset_type": 5}, "dataset_type is '5', which is no str"),
        ({"encoder_type": {}}, "encoder_type is '{}', which is no str"),
        ({"output_size": torch.ones(3)}, "output_size is "),
    ],
)
def test_options_that_mean_another_network_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"file\.pt: {message}"):
        read_foreign(e4e(opts={**OPTIONS, **options}), "file.pt")


def test_encoders_of_more_than_a_photo_are_refused() -> None:
    content = e4e()
    content["state_dict"]["encoder.input_layer.0.weight"] = torch.zeros(64, 6, 3, 3)
    with pytest.raises(CheckpointError, match=r"looks at 6 channels.*ReStyle"):
        read_foreign(content, "restyle.pt")
    content = e4e()
    content["state_dict"]["refiner.weight"] = torch.zeros(1)
    with pytest.raises(CheckpointError, match=r"'refiner.weight' belongs to none of encoder\., decoder\."):
        read_foreign(content, "other.pt")


# Harmless variants ----------------------------------------------------------------------------------------------------

VARIANTS = {
    "only g": lambda state: {"g": state},
    "g beside g_ema": lambda state: {"g": {key: value + 1 for key, value in state.items()}, "g_ema": state, "step": 5},
    "bare": lambda state: state,
    "module.": lambda state: {"g_ema": {f"module.{key}": value for key, value in state.items()}},
    "compiled": lambda state: {"module._orig_mod." + key: value for key, value in state.items()},
    "params_ema": lambda state: {"params_ema": state, "params": {key: value + 1 for key, value in state.items()}},
    "state_dict": lambda state: {"state_dict": state},
    "state_dict_ema": lambda state: {"state_dict_ema": state},
    "another name": lambda state: {"netG": state},
    "half": lambda state: {"g_ema": {key: value.half() for key, value in state.items()}},
}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("name", VARIANTS)
def test_generators_by_other_names(tmp_path: Path, name: str, old: bool) -> None:
    state, path = generator_state(), tmp_path / "file.pt"
    torch.save(VARIANTS[name](state), path, _use_new_zipfile_serialization=not old)
    bundle = read_bundle(path)
    generator: Any = bundle.networks["generator"]
    assert (generator.config, bundle.source["layout"]) == (CONFIG, "stylegan2")
    torch.testing.assert_close(
        generator.synthesis.convs[3].weight, state["convs.2.conv.weight"][0], atol=2e-3, rtol=1e-3
    )
    assert all(bundle.dropped.values())
    left = {"g beside g_ema": {"g", "step"}, "params_ema": {"params"}}
    assert left.get(name, set()) <= set(bundle.dropped)


@pytest.mark.parametrize("shape", [(16,), (1, 16), (8, 16), (1, 1, 16), (1, 8, 16)])
def test_a_mean_code_in_any_of_its_shapes(shape: tuple[int, ...]) -> None:
    bundle = read_foreign({"g_ema": generator_state(), "latent_avg": torch.full(shape, 0.5)}, "file.pt")
    assert torch.equal(bundle.networks["generator"].latent_avg, torch.full((16,), 0.5))


@pytest.mark.parametrize("bad", [torch.zeros(18, 16), torch.zeros(5), torch.full((16,), float("nan")), [0.0] * 16])
def test_other_mean_codes_are_refused(bad: Any) -> None:
    with pytest.raises(CheckpointError, match="latent_avg is"):
        read_foreign({"g_ema": generator_state(), "latent_avg": bad}, "file.pt")


def test_e4e_in_other_clothes() -> None:
    content = e4e()
    state = content["state_dict"]
    plain = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    for variant in (
        {**content, "state_dict": {f"module.{key}": value for key, value in state.items()}},
        {**content, "state_dict": plain, "latent_avg": content["latent_avg"][None]},
        {**{key: value for key, value in content.items() if key != "state_dict"}, "state_dict_ema": state},
        {**content, "optimizer": {"state": {}}, "discriminator_state_dict": {}, "global_step": 7},
    ):
        bundle = read_foreign(variant, "file.pt")
        assert set(bundle.networks) == {"generator", "encoder"}
        assert torch.equal(bundle.networks["encoder"].latent_avg, torch.ones(10, 512))
    assert {"optimizer", "discriminator_state_dict", "global_step"} <= set(bundle.dropped)


# Messages -------------------------------------------------------------------------------------------------------------


def test_the_expected_key_stands_beside_the_one_that_was_found() -> None:
    with pytest.raises(CheckpointError) as error:
        read_foreign({"GAN": {"G.blocks.0.to_style1.weight": torch.zeros(4, 4)}, "version": "1.8.9"}, "lucid.pt")
    assert "stylegan2: " in str(error.value)
    assert "expected 'style.' (nearest found: 'G.blocks.0.to_style1.weight')" in str(error.value)
    state = generator_state()
    state["convs.2.conv.wieght"] = state.pop("convs.2.conv.modulation.bias")
    with pytest.raises(CheckpointError, match=r"'convs.2.conv.wieght', expected a key such as 'convs.2.conv.weight'"):
        read_foreign({"g_ema": state}, "file.pt")
    state.pop("convs.2.conv.wieght")
    with pytest.raises(
        CheckpointError, match=r"'convs.2.conv.modulation.bias' \(nearest found: 'convs.\d.conv.modulation.bias'\), our"
    ):
        read_foreign({"g_ema": state}, "file.pt")
    state.pop("to_rgbs.1.conv.weight"), state.pop("convs.4.conv.weight")
    with pytest.raises(
        CheckpointError, match=r"expected 'convs.4.conv.weight' \(nearest found: 'convs.\d.conv.weight'\)"
    ):
        read_foreign({"g_ema": state}, "file.pt")


@pytest.mark.parametrize("name", LISTS)
def test_rules_are_known_backwards(name: str) -> None:
    rules = LISTS[name][2]
    renamed = rename(keys_below(name), rules, name)
    assert renamed.sources
    for ours, source in renamed.sources.items():
        assert next(found for rule in rules if (found := rule.source_of(ours)) is not None) == source


@pytest.mark.parametrize(
    "value", [5, torch.zeros(3, dtype=torch.int8), torch.zeros(3, dtype=torch.complex64), torch.zeros(3).to_sparse()]
)
def test_what_is_no_plain_tensor_is_refused(value: Any) -> None:
    state = generator_state()
    state["to_rgb1.bias"] = value
    with pytest.raises(CheckpointError, match=r"to_rgb1\.bias"):
        read_foreign({"g_ema": state}, "file.pt")


ODD = [
    *(
        None,
        5,
        "x",
        [],
        {},
        True,
        2**70,
        b"x",
        torch.zeros(()),
        torch.zeros(0),
        torch.zeros(3),
        torch.zeros(1, 4, 4, 4),
    ),
    *(torch.zeros(3, dtype=torch.int8), torch.zeros(2, 2).to_sparse(), torch.empty(3, 3, device="meta")),
]
STRANGE = [
    "",
    "style.1.weight",
    "to_rgbs.99999999.x",
    "to_rgbs.-1.b",
    "convs.x.conv.weight",
    "module.",
    5,
    None,
    ("a",),
]
STRANGE += ["decoder.", "latent_avg", "opts", "state_dict", "convs.99999999999999999999999999.conv.weight"]


def test_damage_of_any_kind_is_a_checkpoint_error() -> None:
    """Keys lost, renamed and replaced by odd things: a bundle or an SdicError, nothing else."""
    whole, refused = e4e(), 0
    for seed in range(150):
        draws = random.Random(seed)
        content = {"g_ema": generator_state(), "latent_avg": torch.zeros(16)} if seed % 10 else whole
        content = {key: dict(value) if isinstance(value, dict) else value for key, value in content.items()}
        for _ in range(draws.randint(1, 3)):
            parts = [part for part in content.values() if isinstance(part, dict)] if draws.random() < 0.7 else []
            part: dict[Any, Any] = draws.choice(parts) if parts else content
            key = draws.choice(list(part) or [0])
            value = part.pop(key, None)
            if draws.random() < 0.7:
                new = draws.random() < 0.4
                part[draws.choice(STRANGE) if new else key] = (
                    value if new and draws.random() < 0.5 else draws.choice(ODD)
                )
        try:
            read_foreign(content, "file.pt")
        except SdicError:
            refused += 1
    assert 75 < refused < 150


def test_every_layout_says_what_it_needs() -> None:
    for layout in FORMATS.values():
        assert layout.mismatch({}).endswith("(none found)")
    assert stylegan2.LAYOUTS["stylegan2"].needs == ("style.", "convs.")


# Our own files --------------------------------------------------------------------------------------------------------


def test_two_networks_of_one_kind_under_two_roles(tmp_path: Path) -> None:
    first, second = (tiny_bundle(seed).networks["generator"] for seed in (0, 1))
    path = tmp_path / "two.safetensors"
    write_native(path, {"generator": first, "tuned": second})
    again = read_bundle(path).networks
    for role, network in (("generator", first), ("tuned", second)):
        for name, tensor in network.state_dict().items():
            assert torch.equal(again[role].state_dict()[name], tensor)
    assert not torch.equal(again["generator"].latent_avg, again["tuned"].latent_avg)  # type: ignore[arg-type]


def test_moco_looks_as_the_field_does(tmp_path: Path) -> None:
    """Nearest neighbour to 224, no normalisation; and the file that we write of it can be read."""
    network = MoCoEmbedder().eval()
    picture = torch.rand(1, 3, 192, 256) * 2 - 1
    path = tmp_path / "moco.safetensors"
    write_native(path, {"moco": network})
    again: Any = read_bundle(path).networks["moco"]
    with torch.no_grad():
        expected = F.normalize(network.body(F.interpolate(picture, size=(224, 224))))
        assert torch.equal(network.embed(picture), expected)
        assert torch.equal(again.embed(picture), expected)
