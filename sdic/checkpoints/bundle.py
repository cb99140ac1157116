"""A bundle: the networks that one or more files hold, by role, and where they came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sdic.errors import CheckpointError, UnknownNameError
from sdic.networks.bisenet import BiSeNet
from sdic.networks.dicn import DICN, DICNConfig
from sdic.networks.dipn import DIPN, DIPNConfig
from sdic.networks.discriminator import Discriminator
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.feature_style import FeatureFuser, FeatureFuserConfig, FeatureStyleConfig, FeatureStyleEncoder
from sdic.networks.hfgi import ADA, ADAConfig, Consultation, ConsultationConfig
from sdic.networks.hyperstyle import HyperNet, HyperNetConfig, WEncoder, WEncoderConfig
from sdic.networks.identity import FaceEmbedder, IResNetEmbedder, MoCoEmbedder
from sdic.networks.mediapipe import BlazeFace, FaceMesh, Iris
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet, PortraitEmbedder, PortraitEmbedderConfig
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.networks.styleres import ResidualTransform, ResidualTransformConfig


@dataclass(frozen=True)
class EmbedderConfig:
    """Which face embedder: "arcface" or "curricularface"."""

    kind: str


@dataclass(frozen=True)
class NoConfig:
    """For networks that come in one size."""


@dataclass(frozen=True)
class NetworkKind:
    """How to build a network from its config, which is its attribute `config` afterwards."""

    network: type[nn.Module]
    config: type
    build: Callable[[Any], nn.Module]


def _single(network: type[nn.Module]) -> NetworkKind:
    """A network that comes in one size."""
    return NetworkKind(network, NoConfig, lambda config: network())


def _embedder(config: EmbedderConfig) -> FaceEmbedder:
    network = FaceEmbedder(config.kind)
    network.config = config  # type: ignore[assignment]
    return network


NETWORKS: dict[str, NetworkKind] = {
    "generator": NetworkKind(Generator, GeneratorConfig, Generator),
    "discriminator": NetworkKind(Discriminator, GeneratorConfig, Discriminator),
    "encoder": NetworkKind(E4E, E4EConfig, E4E),
    "w_encoder": NetworkKind(WEncoder, WEncoderConfig, WEncoder),
    "hypernet": NetworkKind(HyperNet, HyperNetConfig, HyperNet),
    "dipn": NetworkKind(DIPN, DIPNConfig, DIPN),
    "dicn": NetworkKind(DICN, DICNConfig, DICN),
    "ada": NetworkKind(ADA, ADAConfig, ADA),
    "consultation": NetworkKind(Consultation, ConsultationConfig, Consultation),
    "residual_transform": NetworkKind(ResidualTransform, ResidualTransformConfig, ResidualTransform),
    "feature_style_encoder": NetworkKind(FeatureStyleEncoder, FeatureStyleConfig, FeatureStyleEncoder),
    "feature_fuser": NetworkKind(FeatureFuser, FeatureFuserConfig, FeatureFuser),
    "face_embedder": NetworkKind(FaceEmbedder, EmbedderConfig, _embedder),
    "bisenet": _single(BiSeNet),
    "iresnet_embedder": _single(IResNetEmbedder),
    "moco": _single(MoCoEmbedder),
    "attribute_net": NetworkKind(AttributeNet, AttributeConfig, AttributeNet),
    "portrait_embedder": NetworkKind(PortraitEmbedder, PortraitEmbedderConfig, PortraitEmbedder),
    "blazeface": _single(BlazeFace),
    "facemesh": _single(FaceMesh),
    "iris": _single(Iris),
}
"""Every kind of network that a file can hold. A network's usual role is its kind; a file may hold two of one kind under
two roles."""


@dataclass
class Bundle:
    """networks: role -> network, frozen and in eval mode. source: what the file said, its sha256, and under "assumed"
    what it did not say. dropped: keys of a foreign file that were left out, with the reason."""

    networks: dict[str, nn.Module]
    source: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    def require(self, role: str, what: str) -> nn.Module:
        """The network of a role; CheckpointError if the files hold none. `what` says who asks."""
        if role not in self.networks:
            raise CheckpointError(
                f"{what} needs the network {role!r}, but {self.source.get('file', 'the file')} holds only "
                f"{', '.join(sorted(self.networks)) or 'nothing'}"
            )
        return self.networks[role]

    def assume(self, what: str) -> None:
        """Note what the file leaves open and how it is read; `sdic.load` and `sdic convert` print it."""
        known = self.source.get("assumed")
        self.source["assumed"] = f"{known}; {what}" if known else what

    def merge(self, other: Bundle) -> Bundle:
        """Both bundles' networks; a role in both is an error. Where their sources differ, both are named, but picture
        sizes are those of the file with the encoder: it looks at the photos."""
        twice = sorted(set(self.networks) & set(other.networks))
        if twice:
            raise CheckpointError(
                f"{self.source.get('file')} and {other.source.get('file')} both hold {', '.join(twice)}"
            )
        source = {**self.source, **other.source}
        for name in set(self.source) & set(other.source):
            if self.source[name] != other.source[name]:
                source[name] = f"{self.source[name]} + {other.source[name]}"
        source.pop("geometry", None)
        sized = (self if "encoder" in self.networks else other).source
        if "geometry" in sized:
            source["geometry"] = sized["geometry"]
        return Bundle({**self.networks, **other.networks}, source, {**self.dropped, **other.dropped})


def build(kind: str, config: Any) -> nn.Module:
    """A network without memory for its parameters (on the meta device), to be filled from a file."""
    with torch.device("meta"):
        return _known(kind).build(config)


def _known(kind: str) -> NetworkKind:
    if kind not in NETWORKS:
        raise UnknownNameError("network", kind, NETWORKS)
    return NETWORKS[kind]


def kind_of(network: nn.Module) -> str:
    """The name in NETWORKS of a network's kind."""
    return next(name for name, kind in NETWORKS.items() if isinstance(network, kind.network))


def config_of(network: nn.Module) -> dict[str, Any]:
    """The config of a network as plain values, which `config_from` reads back."""
    one_size = NETWORKS[kind_of(network)].config is NoConfig
    return {} if one_size else dataclasses.asdict(network.config)  # type: ignore[call-overload]


def config_from(kind: str, values: dict[str, Any]) -> Any:
    """The config of a kind of network from plain values; CheckpointError where they are not its settings."""
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    try:
        return _known(kind).config(**values)
    except TypeError as error:
        raise CheckpointError(f"the config of network {kind!r} does not fit this version of sdic: {error}") from error
