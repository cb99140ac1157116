"""The networks that measure: perceptual distance, identity, attributes; each may be missing. B pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sdic.domains import Domain
from sdic.errors import ConfigError
from sdic.evaluation.metrics import METRICS, Networks
from sdic.feature_networks import attribute_network, identity_network, missing_file, perceptual_distance
from sdic.utils.tensors import fingerprint

ROLES: dict[str, Callable[[str], Any]] = {
    "perceptual": perceptual_distance,
    "identity": identity_network,
    "attributes": attribute_network,
}
"""How the network of each role is read from a model's name or a file."""


@dataclass(frozen=True)
class MetricNetworks(Networks):
    """attributes: pictures [B, 3, H, W] -> [B, K] in units, the K of `config.names`; `pooled` of it are the Fréchet
    distance's features; None where there is none.
    weights: role -> the name of its network, and its sha256 or what it needs.
    lacking: the label of a metric, or "attributes" -> the cell that stands for its number."""

    attributes: Any = None
    weights: dict[str, dict[str, str]] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, str]:
        """What numbers depend on: role -> sha256 of its network, "" where there is none."""
        return {role: entry.get("sha256", "") for role, entry in self.weights.items()}

    def able(self, names: Iterable[str]) -> list[str]:
        """Those of some metrics that can be computed."""
        return [name for name in names if not METRICS[name].needs or getattr(self, METRICS[name].needs) is not None]

    @torch.no_grad()
    def attribute(self, name: str, pictures: Tensor) -> Tensor:
        """One attribute of pictures [B, 3, H, W] as the network measures it: [B], in its unit."""
        return self.attributes(pictures)[:, self.attributes.config.names.index(name)]


def load_networks(known: Domain, device: torch.device, chosen: dict[str, str], size: int) -> MetricNetworks:
    """The networks of a domain, or those that are chosen for a role by a model's name or a file.

    A model whose file is not there is noted in `lacking`, and one that cannot look at pictures as small as `size`, the
    px of their shorter side. CheckpointError for a name or file that is no such network.
    Where a domain's distance is that of its attribute network, choosing another one changes both.
    """
    names = {role: chosen.get(role) or str(getattr(known, role)) for role in ROLES}
    if known.attributes and known.perceptual == known.attributes and not chosen.get("perceptual"):
        names["perceptual"] = names["attributes"]
    weights: dict[str, dict[str, str]] = {}
    found: dict[str, Any] = dict.fromkeys(ROLES)
    for role, name in names.items():
        if file := missing_file(name) if name else f"--{role} FILE":
            weights[role] = {"network": name, "needs": file}
            continue
        network = ROLES[role](name).to(device)
        smallest = getattr(network, "smallest", 0)
        if size < smallest:
            weights[role] = {"network": name, "needs": f"pictures of at least {smallest} px"}
            continue
        found[role] = network
        weights[role] = {"network": name, "sha256": fingerprint(network)}
    # What tables call the distance of a network that is not there: LPIPS has a file of its own.
    distance = {"": "lpips", "pretrained": "lpips", "random": "lpips_random"}.get(names["perceptual"], "perceptual")
    labels = {"perceptual": distance, "identity": "id", "attributes": "attributes"}
    lacking = {labels[role]: f"needs {entry['needs']}" for role, entry in weights.items() if "needs" in entry}
    return MetricNetworks(found["perceptual"], found["identity"], found["attributes"], weights, lacking)


def check_attributes(networks: MetricNetworks, asked: Iterable[str]) -> None:
    """ConfigError where an attribute that is to be edited is none of those that the network measures."""
    measured = () if networks.attributes is None else networks.attributes.config.names
    missing = [name for name in asked if name not in measured]
    if missing and measured:
        name = networks.weights["attributes"]["network"]
        raise ConfigError(f"{name} measures {', '.join(measured)}, not {', '.join(missing)}; see --attributes")
