"""The networks that measure: perceptual distance, identity, attributes. Shapes: B batch, K attributes, F features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdic.errors import ConfigError
from sdic.evaluation.domains import Domain
from sdic.evaluation.metrics import Networks
from sdic.feature_networks import identity_network, perceptual_distance
from sdic.utils.tensors import fingerprint

MEASURES = ["psnr", "ssim", "l2", "lpips", "id"]
"""Of an inversion; "lpips" is called by the name of the domain's own distance."""


@dataclass(frozen=True)
class Judges:
    """networks: what the metrics look through. attributes: pictures [B, 3, H, W] -> [B, K] in units; `pooled` of it are
    the Fréchet distance's features. names: of the K attributes. weights: sha256 of the networks' tensors."""

    networks: Networks
    attributes: Any
    names: tuple[str, ...]
    weights: dict[str, str]

    @torch.no_grad()
    def attribute(self, name: str, pictures: Tensor) -> Tensor:
        """One attribute of pictures [B, 3, H, W] as the network measures it: [B], in its unit."""
        return self.attributes(pictures)[:, self.names.index(name)]


def load_judges(known: Domain, device: torch.device, attributes: str = "", identity: str = "") -> Judges:
    """The networks of a domain, or others by name or file. ConfigError where an attribute is not measured."""
    perceptual = perceptual_distance(attributes or known.attributes)
    network: Any = perceptual.network
    if not hasattr(network, "pooled"):
        raise ConfigError(
            f"{attributes}: a distance alone; attributes are measured by a file of `sdic train attributes`"
        )
    embedder = identity_network(identity or known.identity)
    names = tuple(network.config.names)
    missing = [name for name in known.changes if name not in names]
    if missing:
        raise ConfigError(f"{attributes or known.attributes} measures {', '.join(names)}, not {', '.join(missing)}")
    weights = {"attributes": fingerprint(network), "identity": fingerprint(embedder)}
    return Judges(Networks(perceptual.to(device), embedder.to(device)), network, names, weights)
