"""Every key of every file that users bring is mapped or dropped with a reason; anything else is an error that names
it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sdic.checkpoints.bundle import EmbedderConfig, NoConfig, build
from sdic.checkpoints.keymap import Renamed, Rule, load_into, rename
from sdic.checkpoints.layouts import e4e, identity, stylegan2
from sdic.checkpoints.layouts import sdic as release
from sdic.errors import CheckpointError
from sdic.networks.dicn import DICNConfig
from sdic.networks.dipn import DIPNConfig
from sdic.networks.e4e import E4EConfig
from sdic.networks.stylegan2 import GeneratorConfig
from tests.golden_weights import draw, key_shapes

LISTS = {
    "sdic_ffhq decoder.": ("generator", GeneratorConfig(1024), stylegan2.GENERATOR),
    "sdic_ffhq encoder.": ("encoder", E4EConfig(), e4e.E4E),
    "sdic_ffhq DIP.": ("dipn", DIPNConfig(), release.DIPN),
    "sdic_ffhq SAF.": ("dicn", DICNConfig(), release.DICN),
    "sdic_cars decoder.": ("generator", GeneratorConfig(512), stylegan2.GENERATOR),
    "sdic_cars encoder.": ("encoder", E4EConfig(16), e4e.E4E),
    "sdic_cars DIP.": ("dipn", DIPNConfig(), release.DIPN),
    "sdic_cars SAF.": ("dicn", DICNConfig(16), release.DICN),
    "e4e_ffhq_encode decoder.": ("generator", GeneratorConfig(1024), stylegan2.GENERATOR),
    "e4e_ffhq_encode encoder.": ("encoder", E4EConfig(), e4e.E4E),
    "stylegan2_ffhq_config_f ": ("generator", GeneratorConfig(1024), stylegan2.GENERATOR),
    "stylegan2_discriminator_1024 ": ("discriminator", GeneratorConfig(1024), stylegan2.DISCRIMINATOR),
    "arcface_model_ir_se50 ": ("face_embedder", EmbedderConfig("arcface"), identity.FACE_EMBEDDER),
    "curricularface_backbone ": ("face_embedder", EmbedderConfig("curricularface"), identity.FACE_EMBEDDER),
    "moco_v2_800ep module.": ("moco", NoConfig(), identity.MOCO),
}


def keys_below(name: str) -> dict[str, torch.Tensor]:
    """Tensors without memory (filters with) for a key list and a prefix."""
    stem, prefix = name.split(" ")
    tensors = {}
    for key, shape in key_shapes(stem).items():
        if key.startswith(prefix):
            kernel = key.endswith("kernel")
            tensors[key[len(prefix) :]] = draw(key, shape) if kernel else torch.empty(shape, device="meta")
    assert tensors
    return tensors


@pytest.mark.parametrize("name", LISTS)
def test_tables_cover_the_lists(name: str) -> None:
    role, config, rules = LISTS[name]
    renamed = rename(keys_below(name), rules, name)
    network: nn.Module = build(role, config)
    expected = {key: tensor.shape for key, tensor in network.state_dict().items()}
    expected.pop("latent_avg", None)  # beside the state dict in the files
    assert {key: tensor.shape for key, tensor in renamed.state.items()} == expected
    assert all(renamed.dropped.values())


def test_dead_weights_are_listed() -> None:
    """14.33 M of the 23.50 M parameters that a release holds for DIPN and DICN are never used."""
    count = 0
    for prefix, rules in (("DIP.", release.DIPN), ("SAF.", release.DICN)):
        source = keys_below(f"sdic_ffhq {prefix}")
        dropped = rename(source, rules, prefix).dropped
        assert dropped
        learned = [k for k in dropped if "running_" not in k and "num_batches" not in k]
        count += sum(source[key].numel() for key in learned)
    assert count == pytest.approx(14.33e6, rel=1e-3)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"file\.pt: 1 keys .*surprise\.weight"):
        rename(
            {"a.weight": torch.zeros(1), "surprise.weight": torch.zeros(1)}, [Rule("a.{rest}", "b.{rest}")], "file.pt"
        )


def test_two_keys_for_one_place_are_refused() -> None:
    rules = [Rule("a", "same"), Rule("b", "same")]
    with pytest.raises(CheckpointError, match=r"'b' and 'a' are both mapped to 'same'"):
        rename({"a": torch.zeros(1), "b": torch.zeros(1)}, rules, "file")


def test_missing_unexpected_and_misshapen_tensors_are_named() -> None:
    linear = nn.Linear(2, 3)
    good = {"weight": torch.ones(3, 2), "bias": torch.ones(3)}
    for state, message in (
        ({"weight": good["weight"]}, "missing: bias"),
        ({**good, "extra": torch.ones(1)}, "no place in the network: extra"),
        ({**good, "weight": torch.ones(2, 3)}, r"weight: \[2, 3\], expected \[3, 2\]"),
    ):
        with pytest.raises(CheckpointError, match=message):
            load_into(linear, Renamed(state, {}, {}), "file")
    assert not torch.equal(linear.weight, torch.ones(3, 2))
    load_into(linear, Renamed(good, {}, {}), "file")
    assert torch.equal(linear.weight, torch.ones(3, 2))


def test_dropping_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="reason"):
        Rule("a", None)


def test_another_filter_is_refused() -> None:
    rules = [Rule("blur.kernel", None, stylegan2.FIR, check=stylegan2._is_the_fir_filter)]
    rename({"blur.kernel": draw("blur.kernel", (4, 4))}, rules, "file")
    with pytest.raises(CheckpointError, match="another one"):
        rename({"blur.kernel": torch.ones(4, 4) / 16}, rules, "file")


def test_numbers_in_patterns() -> None:
    rule = Rule("convs.{i}.part.{rest}", "layers.{i+1}.{rest}")
    assert rule.pattern.fullmatch("convs.x.part.weight") is None
    assert rule.rename("convs.9.part.a.b") == "layers.10.a.b"
    assert Rule("style.{i}.{rest}", "layers.{i-1}.{rest}").rename("style.1.weight") == "layers.0.weight"
