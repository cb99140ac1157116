"""The networks of a run: frozen generator and e4e, trainable DIPN and DICN, and where each came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sdic.data.sampler import derive_seed
from sdic.errors import ConfigError
from sdic.fast import accelerate
from sdic.loading import geometry_of, read_frozen
from sdic.networks.compensator import Compensator
from sdic.networks.dicn import DICN, DICNConfig
from sdic.networks.dipn import DIPN, DIPNConfig
from sdic.networks.e4e import E4E
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.training.config import ModelConfig
from sdic.types import Geometry
from sdic.utils.tensors import fingerprint


@dataclass
class Stack:
    """generator, encoder: frozen. compensator: what trains. hashes: "generator" and "encoder" -> sha256 of the weights,
    the same for every file they may come from. origin: how `sdic.load` finds the frozen part again, and its domain."""

    generator: Generator
    encoder: E4E
    compensator: Compensator
    geometry: Geometry
    layer: int
    hashes: dict[str, str]
    origin: dict[str, str]

    def to(self, device: torch.device) -> Stack:
        """Move everything, in place."""
        for module in (self.generator, self.encoder, self.compensator):
            module.to(device)
        return self


def build_stack(config: ModelConfig, seed: int) -> Stack:
    """The networks that `model.*` asks for, on the CPU. DIPN and DICN start from `model.start`, or from the seed."""
    bundle = read_frozen(config.frozen, config.generator)
    generator: Any = bundle.need("generator", f"model.frozen={config.frozen}")
    encoder: Any = bundle.need("encoder", f"model.frozen={config.frozen}")
    for network in (generator, encoder):
        network.eval().requires_grad_(False)
    geometry = geometry_of(bundle)
    sizes = generator.config
    if config.layer >= sizes.layers:
        raise ConfigError(
            f"model.layer={config.layer}: the generator of {config.frozen} has layers 0 .. {sizes.layers - 1}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        compensator = _started(config, sizes) if config.start else _fresh(config, generator, geometry)
    compensator.requires_grad_(True)
    accelerate(generator)
    hashes = {"generator": fingerprint(generator), "encoder": fingerprint(encoder)}
    origin = {"frozen": config.frozen, **({"frozen_generator": config.generator} if config.generator else {})}
    if "domain" in bundle.source:
        origin["domain"] = bundle.source["domain"]
    return Stack(generator, encoder, compensator, geometry, config.layer, hashes, origin)


def _fresh(config: ModelConfig, generator: Generator, geometry: Geometry) -> Compensator:
    sizes = generator.config
    dicn = DICN(
        DICNConfig(
            sizes.latent_rows,
            sizes.style_dim,
            feature_channels=sizes.layer_channels(config.layer),
            feature_size=sizes.layer_resolution(config.layer),
            map_size=max(geometry.input_size),
            preset=config.preset,
            fusion=config.fusion,
        )
    )
    return Compensator(_fresh_dipn(config), dicn)


def _fresh_dipn(config: ModelConfig) -> DIPN:
    return DIPN(DIPNConfig(config.preset, config.spatial_contextual, config.attention, config.map))


def _started(config: ModelConfig, sizes: GeneratorConfig) -> Compensator:
    """DIPN and DICN of a file, which must be what the other settings describe; a DICN that was trained with the plain
    difference may get a new DIPN that refines it."""
    bundle = read_frozen(config.start)
    dipn: Any = bundle.need("dipn", f"model.start={config.start}")
    dicn: Any = bundle.need("dicn", f"model.start={config.start}")
    if (dipn.config.map, config.map) == ("difference", "refined"):
        dipn = _fresh_dipn(config)
    has = {
        "model.map": (dipn.config.map, config.map),
        "model.preset": (dipn.config.preset, config.preset),
        "model.spatial_contextual": (dipn.config.spatial_contextual, config.spatial_contextual),
        "model.attention": (dipn.config.attention, config.attention),
        "model.fusion": (dicn.config.fusion, config.fusion),
        "channels at model.layer": (dicn.config.feature_channels, sizes.layer_channels(config.layer)),
        "latent rows": (dicn.config.latent_rows, sizes.latent_rows),
        "style width": (dicn.config.style_dim, sizes.style_dim),
    }
    wrong = [f"{key} is {asked} and the file has {held}" for key, (held, asked) in has.items() if held != asked]
    if wrong:
        raise ConfigError(f"model.start={config.start} does not fit: {'; '.join(wrong)}")
    return Compensator(dipn, dicn)


def trainable(compensator: nn.Module) -> list[nn.Parameter]:
    """The positive list of what trains: every parameter of DIPN and DICN, and nothing else."""
    return list(compensator.parameters())
