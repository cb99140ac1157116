"""A file says its method; nothing is inferred from what it happens to hold."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import sdic
from sdic.checkpoints import write_native
from sdic.errors import CheckpointError, ConfigError, UnknownNameError
from sdic.methods import Inverter, register
from sdic.networks.e4e import E4E
from sdic.tiny import tiny_bundle


def saved(path: Path, *roles: str, **source: str) -> Path:
    """A file with networks of the tiny stack and this in its header."""
    bundle = tiny_bundle(0)
    networks = {role: bundle.networks[role] for role in roles or bundle.networks}
    write_native(path, networks, {"geometry": bundle.source["geometry"], **source})
    return path


def test_the_header_says_the_method_and_its_options(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.safetensors", method="e4e", options='{"layer": 3}')
    assert sdic.load(whole, "cpu").method == "e4e"  # though DIPN and DICN lie in it too
    ours: Any = sdic.load(whole, "cpu", method="sdic")
    assert (ours.method, ours.layer) == ("sdic", 3)
    with pytest.raises(UnknownNameError, match=r"'e4f'.*did you mean 'e4e'"):
        sdic.load(saved(tmp_path / "b.safetensors", method="e4f"), "cpu")
    with pytest.raises(CheckpointError, match="options make no sense"):
        sdic.load(saved(tmp_path / "c.safetensors", method="sdic", options="3"), "cpu")
    with pytest.raises(ConfigError, match="layer must be a whole number"):
        sdic.load(saved(tmp_path / "d.safetensors", method="sdic", options='{"layer": "three"}'), "cpu")


def test_files_of_earlier_versions_belong_to_the_one_method_of_their_networks(tmp_path: Path) -> None:
    assert sdic.load(saved(tmp_path / "a.safetensors", layer="3"), "cpu").method == "sdic"
    assert sdic.load(saved(tmp_path / "b.safetensors", "generator", "encoder"), "cpu").method == "e4e"
    with pytest.raises(CheckpointError, match=r"does not say its method, which may be e4e; name it"):
        sdic.load(saved(tmp_path / "c.safetensors", "generator", "encoder", "dipn"), "cpu")
    with pytest.raises(CheckpointError, match=r"does not say its method, which may be pti or wplus; name it"):
        sdic.load(saved(tmp_path / "d.safetensors", "generator"), "cpu")
    with pytest.raises(CheckpointError, match="no method can invert with"):
        sdic.load(saved(tmp_path / "e.safetensors", "encoder", "dipn"), "cpu")


def test_psp_is_a_method_of_its_own(tmp_path: Path) -> None:
    bundle = tiny_bundle(0)
    encoder: Any = bundle.networks["encoder"]
    relative = E4E(replace(encoder.config, relative=False))
    relative.load_state_dict(encoder.state_dict())
    networks = {"generator": bundle.networks["generator"], "encoder": relative}
    path = tmp_path / "psp.safetensors"
    write_native(path, networks, {"geometry": bundle.source["geometry"]})
    model = sdic.load(path, "cpu", optimize=False)
    assert model.method == "psp"
    photo = torch.zeros(1, 3, 64, 64)
    torch.testing.assert_close(model.invert(photo).latent, relative.eval()(photo))
    with pytest.raises(CheckpointError, match="other kinds than those of method 'e4e'"):
        sdic.load(path, "cpu", method="e4e")


def test_a_role_cannot_hide_what_every_method_has() -> None:
    class Hiding(Inverter):
        method = "hiding"
        networks = {"generator": "generator", "shift": "dipn"}  # noqa: RUF012

    with pytest.raises(ConfigError, match="role 'shift'"):
        register(Hiding)
