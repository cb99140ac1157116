"""Who gets the fast form, and what it leaves as it is."""

from __future__ import annotations

import copy
from typing import Any

import torch

import sdic
from sdic.config import load_config
from sdic.fast import accelerate
from sdic.fast.synthesis import FastConv, FastSynthesis, FastToRGB
from sdic.networks.stylegan2 import Generator, GeneratorConfig, Synthesis, SynthesisConv
from sdic.training.distributed import World
from sdic.training.task import find_task
from sdic.utils.tensors import fingerprint

CONFIG = GeneratorConfig(32, style_dim=8, mapping_layers=1, channel_base=256, channel_max=8)


def test_parameters_and_names_stay() -> None:
    plain = Generator(CONFIG)
    fast = accelerate(copy.deepcopy(plain))
    assert fingerprint(fast) == fingerprint(plain)
    assert list(fast.state_dict()) == list(plain.state_dict())
    kinds = {type(module) for module in accelerate(fast).modules()}  # once more changes nothing
    assert {FastSynthesis, FastConv, FastToRGB} <= kinds
    assert not {Synthesis, SynthesisConv} & kinds


def test_weights_that_train_get_their_gradients() -> None:
    plain: Any = Generator(CONFIG)
    fast: Any = accelerate(copy.deepcopy(plain))
    latent = torch.randn(2, CONFIG.latent_rows, 8)
    for network in (plain, fast):
        network.synthesis(latent).square().mean().backward()
    for (name, one), other in zip(plain.named_parameters(), fast.parameters(), strict=True):
        if name.startswith("synthesis"):
            torch.testing.assert_close(other.grad, one.grad, msg=name)


def test_inference_and_training_use_it_and_plain_networks_are_plain() -> None:
    loaded: Any = sdic.load("tiny", "cpu")
    assert type(loaded.generator.synthesis) is FastSynthesis
    entry = find_task("sdic")
    words = ["model.frozen=tiny", "model.layer=3", "loss.lpips=0", "loss.id=0", "loss.id_network=none"]
    task: Any = entry.task(
        load_config(entry.config, None, [*words, "validation.every=0"]), World(0, 1, torch.device("cpu"))
    )
    assert type(task.inverter.generator.synthesis) is FastSynthesis
    plain: Any = sdic.load("tiny", "cpu", optimize=False)
    assert type(plain.generator.synthesis) is Synthesis
    assert type(plain.generator.synthesis.convs[0]) is SynthesisConv
