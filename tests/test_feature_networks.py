"""Perceptual distance and identity network by model name and by file, as losses and metrics get them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sdic.config import load_config
from sdic.errors import CheckpointError, ConfigError
from sdic.evaluation.metrics import Networks, label, measure
from sdic.feature_networks import identity_network, perceptual_distance
from sdic.training.task import find_task
from sdic.training.tasks.inverter_settings import InverterConfig, build_loss, build_networks

CPU = torch.device("cpu")


def config(*words: Any) -> InverterConfig:
    return load_config(find_task("sdic").config, None, [*map(str, words)])


def test_a_file_with_an_attribute_network_is_a_perceptual_loss(portraits: Path, photos: torch.Tensor) -> None:
    file = portraits / "attributes.safetensors"
    words = ("loss.l2=0", "loss.edit=0", "loss.id=0", "loss.id_network=none", f"loss.lpips_weights={file}")
    wanted = config(*words)
    features = build_networks(wanted, CPU)
    loss = build_loss(wanted, features)
    output = (photos + 0.1 * torch.randn_like(photos)).requires_grad_()
    nothing = torch.zeros(1)
    terms = loss(photos, output, nothing, nothing, nothing, nothing)
    assert set(terms) == {"loss", "perceptual"}
    torch.testing.assert_close(terms["loss"], 0.8 * terms["perceptual"])
    terms["loss"].backward()
    assert output.grad is not None
    assert float(output.grad.abs().max()) > 0
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    networks = Networks(features.lpips)
    assert label("lpips", networks) == "perceptual"
    measured = measure(["lpips"], photos, output, networks)["perceptual"]
    assert sum(measured) / 3 == pytest.approx(float(terms["perceptual"].detach()), rel=1e-5)


def test_names_of_models_mean_their_files(portraits: Path, photos: torch.Tensor) -> None:
    by_name = build_networks(
        config("loss.lpips_weights=portraits-attributes", "loss.id_network=portraits-identity"), CPU
    )
    by_file = (portraits / f"{name}.safetensors" for name in ("attributes", "identity"))
    distance, embedder = perceptual_distance(str(next(by_file))), identity_network(str(next(by_file)))
    other = photos.flip(3)
    assert torch.equal(by_name.lpips(photos, other), distance(photos, other))
    assert torch.equal(by_name.embedder.embed(photos), embedder.embed(photos))


def test_what_is_not_there_names_the_setting_and_the_way_out(portraits: Path) -> None:
    for word, parts in {
        "loss.lpips_weights=nowhere.safetensors": ("loss.lpips_weights=nowhere", "neither a model", "loss.lpips=0"),
        "loss.lpips_weights=portraits-attribute": ("did you mean 'portraits-attributes'",),
        f"loss.lpips_weights={portraits / 'identity.safetensors'}": ("attribute_net", "portrait_embedder"),
        "loss.id_network=nowhere.safetensors": ("loss.id_network=nowhere", "neither a model", "loss.id=0"),
        "loss.id_network=portraits-e4e": ("embeds pictures", "encoder, generator"),
    }.items():
        with pytest.raises(CheckpointError) as error:
            build_networks(config("loss.lpips_weights=random", word), CPU)
        for part in parts:
            assert part in str(error.value)
    with pytest.raises(ConfigError, match=r"loss\.lpips_weights"):
        config("loss.lpips_weights=none")
