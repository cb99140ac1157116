"""Names and files -> inverters: whose files go together, which layer, which domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import sdic
from sdic import zoo
from sdic.checkpoints import copy_native, read_bundle, write_native
from sdic.errors import CheckpointError, SdicError
from sdic.loading import geometry_of, read_frozen
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.pictures import domain_of
from sdic.tiny import tiny_bundle
from sdic.types import Geometry

WHOLE = "whole.safetensors"


def whole(path: Path, source: dict[str, str]) -> Any:
    """An inverter from one file with all networks of a 64 px stack, and this in its header."""
    write_native(path, tiny_bundle(0).networks, {"layer": "3", **source})
    return sdic.load(path, "cpu", optimize=False)


def test_the_models_of_portraits_load_from_their_files(portraits: Path, photos: torch.Tensor) -> None:
    ours, e4e = (sdic.load(name, "cpu") for name in ("portraits", "portraits-e4e"))
    assert (ours.method, ours.layer, ours.domain, domain_of(ours)) == ("sdic", 3, "portraits", "portraits")
    assert (e4e.method, e4e.domain) == ("e4e", "portraits")
    assert ours.fingerprint == e4e.fingerprint
    assert ours.geometry == zoo.DOMAINS["portraits"]
    assert ours.invert(photos[:1]).image.shape == (1, 3, 64, 64)
    assert len(ours.weights_sha256.split(" + ")) == 3
    assert {path.name for path in portraits.glob("*.sha256")} >= {"generator.safetensors.sha256"}
    for name, role in (("portraits-attributes", "attribute_net"), ("portraits-identity", "portrait_embedder")):
        assert set(read_frozen(name).networks) == {role}
        with pytest.raises(SdicError, match="losses and metrics"):
            sdic.load(name)


def test_the_file_says_which_layer(portraits: Path) -> None:
    bundle = tiny_bundle(3, layer=1)
    header = read_bundle(portraits / "sdic.safetensors").source
    compensator = {role: bundle.networks[role] for role in ("dipn", "dicn")}
    write_native(portraits / "sdic.safetensors", compensator, {**header, "layer": "1"})
    assert zoo.card("portraits").options == {"layer": 5}
    assert sdic.load("portraits", "cpu", optimize=False).layer == 1
    assert sdic.load(portraits / "sdic.safetensors", "cpu", optimize=False).layer == 1
    with pytest.raises(SdicError, match="channels"):  # what is asked for goes first
        sdic.load("portraits", "cpu", layer=7)


@pytest.mark.parametrize("role", ["generator", "encoder"])
def test_files_of_different_trainings_are_refused(portraits: Path, role: str) -> None:
    write_native(portraits / f"{role}.safetensors", {role: tiny_bundle(8).networks[role]}, {"domain": "portraits"})
    with pytest.raises(CheckpointError, match=rf"'portraits'.*beside the {role}.*train SDIC again"):
        sdic.load("portraits", "cpu")
    with pytest.raises(CheckpointError, match=rf"sdic\.safetensors.*beside the {role}"):
        sdic.load(portraits / "sdic.safetensors", "cpu")
    assert sdic.load("portraits-e4e", "cpu", optimize=False).method == "e4e"


def test_partners_lie_beside_the_file_that_names_them(
    portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "encoder.safetensors").write_bytes(b"not this one")
    assert sdic.load(portraits / "sdic.safetensors", "cpu", optimize=False).domain == "portraits"
    named = {"frozen": "portraits-e4e", "frozen_generator": ""}
    copy_native(portraits / "sdic.safetensors", tmp_path / "mine.safetensors", named)
    assert sdic.load("mine.safetensors", "cpu", optimize=False).method == "sdic"  # or they are a model


def test_the_header_decides_between_domains_of_one_size(tmp_path: Path) -> None:
    assert zoo.DOMAINS["tiny"] == zoo.DOMAINS["portraits"]
    for source, domain in (({}, "tiny"), ({"domain": "portraits"}, "portraits"), ({"domain": "cats"}, "cats")):
        inverter = whole(tmp_path / WHOLE, source)
        assert inverter.domain == source.get("domain")
        assert domain_of(inverter) == domain
        assert sdic.PictureInverter(inverter).domain == domain
    assert sdic.PictureInverter(inverter, "tiny").domain == "tiny"


@pytest.mark.parametrize(
    ("size", "domain", "geometry"),
    [
        (512, None, zoo.DOMAINS["car"]),
        (512, "car", zoo.DOMAINS["car"]),
        (512, "cats", Geometry(512, (256, 256))),
        (128, "portraits", Geometry(128, (128, 128))),
    ],
)
def test_geometry_follows_domain_and_size(size: int, domain: str | None, geometry: Geometry) -> None:
    with torch.device("meta"):
        generator = Generator(
            GeneratorConfig(size, style_dim=8, mapping_layers=1, channels=(4,) * (size.bit_length() - 2))
        )
    source = {} if domain is None else {"domain": domain}
    assert geometry_of(sdic.checkpoints.Bundle({"generator": generator}, source)) == geometry


def test_seeded_models_are_made_in_one_way() -> None:
    source = read_frozen("tiny").source
    assert (source["sha256"], source["domain"]) == ("seed 0", "tiny")
    assert sdic.load("tiny", "cpu", optimize=False).layer == 3
    assert sdic.load("tiny-e4e", "cpu", optimize=False).domain == "tiny"


def test_missing_files_of_ours_say_what_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sdic.zoo.REPOSITORY", tmp_path)
    with pytest.raises(CheckpointError) as error:
        sdic.load("portraits", "cpu")
    for part in ("portraits/generator.safetensors", str(tmp_path), "sdic build portraits", "SDIC_PRETRAINED", "MIT"):
        assert part in str(error.value)
    assert "sdic convert" not in str(error.value)


def test_installed_weights_are_found(portraits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SDIC_PRETRAINED")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # not a clone, which has them in ./pretrained
    monkeypatch.setattr("sdic.zoo.REPOSITORY", tmp_path / "elsewhere")
    wanted = zoo.card("portraits").files[0]
    monkeypatch.setattr("sdic.zoo.INSTALLED", tmp_path / "nowhere")
    assert zoo.find_file(wanted) != portraits / "generator.safetensors"
    monkeypatch.setattr("sdic.zoo.INSTALLED", portraits.parent)
    assert zoo.find_file(wanted) == portraits / "generator.safetensors"
