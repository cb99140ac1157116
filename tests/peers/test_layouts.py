"""Files of HFGI, FS and StyleRes, and of the networks that FS's losses look through: every key has its place."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sdic.checkpoints import FORMATS, NETWORKS, read_foreign
from sdic.checkpoints.bundle import NoConfig, build
from sdic.checkpoints.keymap import rename
from sdic.checkpoints.layouts import bisenet, feature_style, hfgi, identity, styleres
from sdic.errors import CheckpointError
from sdic.losses.parsing import parsing_loss
from sdic.losses.perceptual import OverScales
from sdic.networks.bisenet import BiSeNet
from sdic.networks.feature_style import FeatureStyleConfig
from sdic.networks.hfgi import ADA, ADAConfig, ConsultationConfig
from sdic.networks.styleres import ResidualTransformConfig
from tests.checkpoints.test_keymaps import keys_below

LISTS = {
    "hfgi_ffhq grid_align.": ("ada", ADAConfig(), hfgi.ADA),
    "hfgi_ffhq residue.": ("consultation", ConsultationConfig(), hfgi.CONSULTATION),
    "fs_encoder ": ("feature_style_encoder", FeatureStyleConfig(), feature_style.ENCODER),
    "arcface_iresnet50 ": ("iresnet_embedder", NoConfig(), identity.IRESNET),
    f"styleres_ffhq generator_smooth.{styleres.BLOCK}": (
        "residual_transform",
        ResidualTransformConfig(),
        styleres.TRANSFORM,
    ),
}
PARAMETERS = {"ada": 0.60e6, "consultation": 5.65e6, "feature_style_encoder": 113.92e6, "residual_transform": 83.9e6}
"""What the authors' networks have, as far as that is known; without the layers that nothing uses."""


@pytest.mark.parametrize("name", LISTS)
def test_tables_cover_the_lists(name: str) -> None:
    kind, config, rules = LISTS[name]
    renamed = rename(keys_below(name), rules, name)
    network: nn.Module = build(kind, config)
    expected = {key: tensor.shape for key, tensor in network.state_dict().items() if key != "latent_avg"}
    assert {key: tensor.shape for key, tensor in renamed.state.items()} == expected
    assert all(renamed.dropped.values())
    if kind in PARAMETERS:
        count = sum(parameter.numel() for parameter in network.parameters())
        assert count == pytest.approx(PARAMETERS[kind], rel=1e-2)


def test_each_release_is_its_own_layout() -> None:
    """Recognised by keys alone: no other layout takes them."""
    for name, place in {"hfgi_ffhq ": "hfgi", "fs_encoder ": "fs", "arcface_iresnet50 ": "arcface_iresnet50"}.items():
        able = [known for known, layout in FORMATS.items() if layout.recognise({"state_dict": keys_below(name)})]
        assert able[0] == place, able
    parts: dict[str, Any] = {"e4e": {}, "generator_smooth": {}}
    for key, tensor in keys_below("styleres_ffhq ").items():
        part, _, rest = key.partition(".")
        parts[part][rest] = tensor
    assert next(name for name, layout in FORMATS.items() if layout.recognise(parts)) == "styleres"


def test_damaged_releases_say_what_is_missing() -> None:
    state = keys_below("fs_encoder ")
    del state["content_layer.1.weight"]
    with pytest.raises(CheckpointError, match=r"143\.pth: expected 'content_layer\.1\.weight' \(nearest found"):
        read_foreign(state, "143.pth")
    parts = {"generator_smooth": {key: torch.zeros(1) for key in ("mapping.fc0.weight", f"{styleres.BLOCK}gates.x")}}
    with pytest.raises(CheckpointError, match="layout that sdic does not know"):
        read_foreign(parts, "other.pth")


def test_ada_can_be_left_out() -> None:
    ada, distortion = ADA(ADAConfig(align=False)), torch.randn(2, 3, 16, 16)
    assert ada(distortion, torch.zeros(2, 3, 16, 16)) is distortion
    assert list(ada.parameters()) == []
    assert NETWORKS["ada"].network is ADA


def test_bisenet_parses_and_its_keys_have_their_places() -> None:
    network = BiSeNet().eval()
    state = {
        next(found for rule in bisenet.BISENET if (found := rule.source_of(key)) is not None): tensor
        for key, tensor in network.state_dict().items()
    }
    known = ("cp.resnet.layer1.0.conv1.weight", "cp.resnet.layer2.0.downsample.1.running_mean", "cp.arm16.conv.bn.bias")
    known += ("cp.arm32.conv_atten.weight", "cp.arm32.bn_atten.weight", "cp.conv_avg.conv.weight", "ffm.conv2.weight")
    known += ("ffm.convblk.bn.running_var", "conv_out.conv.conv.weight", "conv_out16.conv_out.weight")
    assert set(known) <= set(state)
    bundle = read_foreign(state, "79999_iter.pth")
    assert bundle.source["layout"] == "bisenet"
    again: Any = bundle.networks["bisenet"].eval()
    picture = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        for one, other in zip(network(picture), again(picture), strict=True):
            assert one.shape == (1, 19, 512, 512)
            assert torch.equal(one, other)


def test_the_parsing_loss_is_a_sum_of_cosines() -> None:
    def parser(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return x, x.square(), 1 + x

    photo, output = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4, requires_grad=True)
    expected = 0.0
    for one, other in zip(parser(photo), parser(output.detach()), strict=True):
        for a, b in zip(one.flatten(1), other.flatten(1), strict=True):
            expected += (1 - float(a @ b) / math.sqrt(float(a @ a) * float(b @ b))) / 2
    found = parsing_loss(parser, photo, output)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    found.backward()
    assert output.grad is not None
    assert float(parsing_loss(parser, photo, photo)) == pytest.approx(0, abs=1e-6)


def test_a_distance_over_scales_adds_up_halved_pictures() -> None:
    class Squares(nn.Module):
        name = "squares"

        def forward(self, photo: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
            return (photo - output).square().flatten(1).mean(1)

    one, other = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16)
    expected = sum(
        (F.interpolate(one - other, scale_factor=1 / times, mode="bilinear") if times > 1 else one - other)
        .square()
        .flatten(1)
        .mean(1)
        for times in (1, 2)
    )
    found = OverScales(Squares(), 2)(one, other)
    torch.testing.assert_close(found, expected)
    assert OverScales(Squares(), 2).name == "squares"
