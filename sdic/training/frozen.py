"""Frozen networks of earlier stages, from their files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdic.checkpoints import read_bundle
from sdic.errors import CheckpointError, ConfigError
from sdic.feature_networks import perceptual_distance


def perceptual_from(name: str, device: torch.device) -> Any:
    """The perceptual distance that `name` means (see `perceptual_distance`), on the device; None for ""."""
    return perceptual_distance(name).to(device) if name else None


def require_network(file: str, role: str, what: str) -> nn.Module:
    """A frozen network of a file; CheckpointError says which stage makes a missing one."""
    if not Path(file).is_file():
        raise CheckpointError(f"{what} needs {Path(file).absolute()}, which is not there; an earlier stage makes it")
    return read_bundle(file).require(role, what)


def start_from(file: str, networks: Mapping[str, nn.Module]) -> None:
    """Fill networks with those of the same role in a file; roles that it lacks are left as they are.

    ConfigError where a network has other sizes than the settings ask for.
    """
    if not Path(file).is_file():
        raise CheckpointError(f"model.start: {Path(file).absolute()} is not there")
    held = read_bundle(file).networks
    for role, network in networks.items():
        if role in held:
            found: Any = held[role]
            if found.config != network.config:
                raise ConfigError(
                    f"model.start={file} holds a {role} of {found.config}, the settings ask for {network.config}"
                )
            network.load_state_dict(found.state_dict())
