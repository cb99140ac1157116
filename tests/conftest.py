"""Shared by all tests: no network, fixed seeds, the tiny stack."""

from __future__ import annotations

import socket

import pytest
import torch

import sdic

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
