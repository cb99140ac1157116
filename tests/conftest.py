"""Shared by all tests: no network, fixed seeds, the tiny stack, and untrained files of the domain "portraits"."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
import torch

import sdic
from sdic.checkpoints import write_native
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet, PortraitEmbedder, PortraitEmbedderConfig
from sdic.tiny import LAYER, tiny_bundle
from sdic.utils.tensors import fingerprint

# Small networks gain nothing from threads, and threads that wait for each other are slow on a busy machine.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests must not reach out: only addresses of this machine (process groups use them) can be connected to."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "local"
        if self.family != socket.AF_UNIX and host not in ("127.0.0.1", "localhost", "::1"):
            raise OSError(f"a test tried to connect to {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def tiny() -> sdic.Inverter:
    """SDIC on the untrained 64 px stack."""
    return sdic.load("tiny", "cpu")


@pytest.fixture
def photos() -> torch.Tensor:
    """Three smooth pictures [3, 3, 64, 64] in [-1, 1]."""
    coarse = torch.randn(3, 3, 8, 8)
    return torch.tanh(torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic"))


@pytest.fixture(scope="session")
def _portrait_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("portraits")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        networks = dict(tiny_bundle(3).networks)
        networks["attribute_net"] = AttributeNet(AttributeConfig(widths=(8, 8), hidden=8))
        networks["portrait_embedder"] = PortraitEmbedder(PortraitEmbedderConfig(32, (1, 1, 1, 1), (8, 8, 8, 8), 8))
    partners = {f"{role}_sha256": fingerprint(networks[role]) for role in ("generator", "encoder")}
    frozen = {"frozen": "encoder.safetensors", "frozen_generator": "generator.safetensors"}
    contents = {
        "generator": (("generator",), {}),
        "encoder": (("encoder",), {}),
        "sdic": (("dipn", "dicn"), {"layer": str(LAYER), **frozen, **partners}),
        "attributes": (("attribute_net",), {}),
        "identity": (("portrait_embedder",), {}),
    }
    for name, (roles, source) in contents.items():
        chosen = {role: networks[role] for role in roles}
        write_native(folder / f"{name}.safetensors", chosen, {"domain": "portraits", **source})
    return folder


@pytest.fixture
def portraits(_portrait_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder portraits/ of $SDIC_PRETRAINED, with an untrained file of every network of the domain (64 px)."""
    folder = tmp_path / "pretrained" / "portraits"
    shutil.copytree(_portrait_files, folder)
    monkeypatch.setenv("SDIC_PRETRAINED", str(folder.parent))
    return folder
