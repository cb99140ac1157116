"""An untrained 64 px stack built from a seed: for tests, and for a first run without any file."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import nn

from sdic.checkpoints import Bundle
from sdic.methods import find_method
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.types import Geometry

RESOLUTION = INPUT = 64
LAYER = 3


def tiny_bundle(seed: int = 0, resolution: int = RESOLUTION, method: str = "sdic", **settings: Any) -> Bundle:
    """Generator, e4e, and what a method trains, with random weights: pictures are abstract, every path is the real one.
    settings: of the method's networks, in place of its `tiny` ones."""
    widths = (48, 48, 32, 32, 24, 16)
    geometry = Geometry(resolution, (INPUT, INPUT))
    options: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        count = GeneratorConfig(resolution).latent_rows // 2
        config = GeneratorConfig(resolution, style_dim=64, mapping_layers=2, channels=widths[:count])
        generator = Generator(config)
        for conv in generator.synthesis.convs:
            nn.init.constant_(conv.noise_strength, 0.05)  # type: ignore[arg-type]
        generator.latent_avg.copy_(generator.mean_latent(2000, seed))
        encoder = E4E(E4EConfig(config.latent_rows, 64, (1, 1, 2, 1), (16, 24, 32, 48), input_size=INPUT))
        encoder.latent_avg.copy_(generator.latent_avg.expand_as(encoder.latent_avg))
        networks: dict[str, nn.Module] = {"generator": generator, "encoder": encoder}
        kind = find_method(method)
        for part in [find_method(name) for name in kind.trained_after] + [kind]:
            if part.trains:
                chosen = part.Settings(**part.tiny)
                vars(chosen).update(settings if part is kind else {})
                networks |= part.trainable(chosen, generator, geometry)
                options = part.options_of(chosen)
        options = options if kind.trains else dict(kind.tiny)
    for network in networks.values():
        network.eval().requires_grad_(False)
    source = {"file": f"tiny stack from seed {seed}", "geometry": geometry.to_text(), "options": json.dumps(options)}
    return Bundle(networks, source)
