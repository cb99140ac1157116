"""The authors' files of ReStyle and HyperStyle: what their options say is obeyed, what leaves it open is refused.

Numbers are zero and take no memory; that they land where they should is shown by the golden values (tests/peers)."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import torch
from torch import Tensor

from sdic.checkpoints import read_foreign
from sdic.checkpoints.bundle import build
from sdic.checkpoints.layouts import e4e as family
from sdic.checkpoints.layouts import hyperstyle as layout
from sdic.errors import CheckpointError
from sdic.networks.e4e import E4EConfig
from sdic.networks.hyperstyle import HyperNetConfig, WEncoderConfig
from sdic.networks.resnet import RESNET34
from sdic.networks.stylegan2 import GeneratorConfig
from tests.checkpoints.test_files import rosinality_keys
from tests.golden_weights import draw

WIDTHS = (512, 512, 512, 256, 128)
SIZES = GeneratorConfig(64, mapping_layers=1, channels=WIDTHS)
DECODER = {f"decoder.{key}": shape for key, shape in rosinality_keys(SIZES).items()}


def zeros(kind: str, config: Any, rules: Any, prefix: str) -> dict[str, Tensor]:
    """What a file holds for a network, by the names that the table gives back."""
    state = {}
    for key, tensor in build(kind, config).state_dict().items():
        source = next((name for rule in rules if (name := rule.source_of(key)) is not None), None)
        if source is not None and key != "latent_avg":
            shape = (*tensor.shape, 1, 1) if source.endswith("output.1.weight") else tensor.shape
            state[prefix + source] = torch.zeros((), dtype=tensor.dtype).expand(shape)
    return state


def decoder() -> dict[str, Tensor]:
    return {
        key: draw(key, shape) if key.endswith("kernel") else torch.zeros(()).expand(shape)
        for key, shape in DECODER.items()
    }


def restyle(encoder_type: str | None, body: str = "irse", **options: Any) -> dict[str, Any]:
    switches: dict[str, Any] = {"channels": 6, "pyramid": False, "body": body}
    switches |= {"blocks": RESNET34} if body == "resnet" else {}
    rules = family.E4E if body == "irse" else [rule for rule in family.E4E if "res_layer" not in rule.source]
    rules = [rule for rule in rules if body == "irse" or "input_layer" not in rule.source]
    config = E4EConfig(10, 512, input_size=256, **switches)
    state = decoder() | zeros("encoder", config, rules, "encoder.")
    opts = {"encoder_type": encoder_type, "start_from_latent_avg": False, "dataset_type": "ffhq_encode", **options}
    return {"state_dict": state, "latent_avg": torch.ones(10, 512), "opts": opts}


@pytest.mark.parametrize("body", ["irse", "resnet"])
@pytest.mark.parametrize("progressive", [False, True])
def test_restyle_is_known_by_its_encoder_type(body: str, progressive: bool) -> None:
    named = ("ResNet" if body == "resnet" else "") + ("Progressive" if progressive else "") + "BackboneEncoder"
    content = restyle(named, body)
    for opts in (content["opts"], argparse.Namespace(**content["opts"])):
        bundle = read_foreign({**content, "opts": opts}, "file.pt")
        assert (bundle.source["method"], bundle.source["layout"]) == ("restyle", "restyle")
        config: Any = bundle.networks["encoder"].config
        assert (config.relative, config.body, config.channels, config.pyramid) == (progressive, body, 6, False)
        assert torch.equal(bundle.networks["encoder"].latent_avg, torch.ones(10, 512))  # added, whatever is said


def test_cars_of_restyle_are_cars() -> None:
    bundle = read_foreign(restyle("ResNetBackboneEncoder", "resnet", dataset_type="cars_encode"), "file.pt")
    assert bundle.source["domain"] == "car"
    assert '"input_size": [192, 256]' in bundle.source["geometry"]


def test_what_restyle_leaves_open_or_is_not_its_own_is_refused() -> None:
    for named, said in (
        (None, "do not say its encoder_type"),
        ("Encoder4Editing", "encoder_type is 'Encoder4Editing'"),
    ):
        with pytest.raises(CheckpointError, match=rf"file\.pt: its.*{said.removeprefix('its ')}"):
            read_foreign(restyle(named), "file.pt")
    content = restyle("BackboneEncoder")
    content["state_dict"]["encoder.input_layer.0.weight"] = torch.zeros(64, 3, 3, 3)
    with pytest.raises(CheckpointError, match="looks at 3 channels, not at 6"):
        read_foreign(content, "file.pt")
    with pytest.raises(CheckpointError, match="tensors are missing"):  # another body than is said
        read_foreign(restyle("ResNetBackboneEncoder"), "file.pt")


def hyperstyle(**options: Any) -> dict[str, Any]:
    outputs = [SIZES.layer_channels(layer) for layer in range(SIZES.layers)]
    config = HyperNetConfig((512, *outputs[:-1]), tuple(outputs), 10, 512, tuple(range(SIZES.layers)))
    state = decoder() | zeros("hypernet", config, layout.hypernet_rules(range(SIZES.layers)), "hypernet.")
    for part in ("w1", "b1", "w2", "b2"):
        state[f"hypernet.refinement_blocks.0.hypernet.{part}"] = state[f"hypernet.{layout.SHARED}{part}"]
    return {"state_dict": state, "latent_avg": torch.ones(10, 512), "opts": options, "global_step": 5}


def test_hyperstyle_has_a_hypernetwork_and_a_generator() -> None:
    bundle = read_foreign(hyperstyle(dataset_type="ffhq_hypernet"), "file.pt")
    assert (bundle.source["method"], sorted(bundle.networks)) == ("hyperstyle", ["generator", "hypernet"])
    config: Any = bundle.networks["hypernet"].config
    assert [config.is_wide(layer) for layer in config.layers] == [True] * 5 + [False] * 4
    assert (config.wide_inner, config.narrow_inner, config.outputs[-1]) == (128, 256, 128)
    assert torch.equal(bundle.networks["hypernet"].latent_avg, torch.ones(10, 512))
    assert "again" in bundle.dropped["hypernet.refinement_blocks.0.hypernet.w1"]
    cars = read_foreign(hyperstyle(dataset_type="cars_hypernet"), "file.pt")
    assert cars.source["domain"] == "car"
    content = hyperstyle()
    content["state_dict"]["hypernet.refinement_blocks.0.hypernet.b1"] = torch.ones(4608)
    with pytest.raises(CheckpointError, match=r"refinement_blocks\.0\.hypernet\.b1 is not"):
        read_foreign(content, "file.pt")
    content = hyperstyle()
    del content["state_dict"]["hypernet.refinement_blocks.0.convs.0.weight"]
    with pytest.raises(CheckpointError, match=r"expected 'refinement_blocks\.0\.convs\.0\.weight'"):
        read_foreign(content, "file.pt")


def test_of_its_w_encoders_file_only_the_encoder_is_read() -> None:
    state = decoder() | zeros("w_encoder", WEncoderConfig(), layout.W_ENCODER, "encoder.")
    bundle = read_foreign({"state_dict": state, "latent_avg": torch.ones(10, 512), "opts": {}}, "file.pt")
    assert list(bundle.networks) == ["encoder"]
    assert "method" not in bundle.source
    assert len([key for key in bundle.dropped if key.startswith("decoder.")]) == len(DECODER)
