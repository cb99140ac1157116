"""An untrained 64 px stack built from a seed: for tests, and for a first run without any file."""

from __future__ import annotations

import torch
from torch import nn

from sdic.checkpoints import Bundle
from sdic.networks.dicn import DICN, DICNConfig
from sdic.networks.dipn import DIPN, DIPNConfig, Preset
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.types import Geometry

RESOLUTION = INPUT = 64
LAYER = 3  # 16x16: a quarter of the output, as layer 7 is a quarter of SDIC's 256 px


def tiny_bundle(seed: int = 0, preset: Preset = "released", resolution: int = RESOLUTION, layer: int = LAYER) -> Bundle:
    """Generator, e4e, DIPN and DICN with random weights: pictures are abstract, every path is the real one."""
    widths = (48, 48, 32, 32, 24, 16)
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
        dipn = DIPN(DIPNConfig(preset))
        dicn = DICN(
            DICNConfig(
                config.latent_rows,
                config.style_dim,
                feature_channels=config.layer_channels(layer),
                feature_size=config.layer_resolution(layer),
                map_size=64,
                preset=preset,
            )
        )
    networks: dict[str, nn.Module] = {"generator": generator, "encoder": encoder, "dipn": dipn, "dicn": dicn}
    for network in networks.values():
        network.eval().requires_grad_(False)
    geometry = Geometry(resolution, (INPUT, INPUT)).to_text()
    return Bundle(networks, {"file": f"tiny stack from seed {seed}", "layer": str(layer), "geometry": geometry})
