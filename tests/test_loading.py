"""Names and files -> inverters: whose files go together, which layer, which domain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import sdic
from sdic import zoo
from sdic.bundles import read_frozen
from sdic.checkpoints import Bundle, copy_native, read_bundle, write_native
from sdic.cli import main
from sdic.config import load_config
from sdic.domains import DOMAINS
from sdic.errors import CheckpointError, SdicError
from sdic.loading import geometry_of
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.pictures import domain_of
from sdic.tiny import tiny_bundle
from sdic.training.distributed import World
from sdic.training.task import find_task
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
    assert ours.geometry == DOMAINS["portraits"].geometry
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
    assert sdic.load("portraits", "cpu", optimize=False).layer == 1
    assert sdic.load(portraits / "sdic.safetensors", "cpu", optimize=False).layer == 1
    with pytest.raises(SdicError, match="channels"):  # what is asked for goes first
        sdic.load("portraits", "cpu", layer=7)


@pytest.mark.parametrize("role", ["generator", "encoder"])
def test_files_of_different_trainings_are_refused(portraits: Path, role: str) -> None:
    write_native(portraits / f"{role}.safetensors", {role: tiny_bundle(8).networks[role]}, {"domain": "portraits"})
    with pytest.raises(CheckpointError, match=rf"'portraits'.*beside the {role}.*train again"):
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
    assert DOMAINS["tiny"].geometry == DOMAINS["portraits"].geometry
    for source, domain in (({}, "tiny"), ({"domain": "portraits"}, "portraits"), ({"domain": "cats"}, "cats")):
        inverter = whole(tmp_path / WHOLE, source)
        assert inverter.domain == source.get("domain")
        assert domain_of(inverter) == domain
        assert sdic.PictureInverter(inverter).domain == domain
    assert sdic.PictureInverter(inverter, "tiny").domain == "tiny"


@pytest.mark.parametrize(
    ("size", "input_size", "domain", "geometry"),
    [
        (512, 256, "car", DOMAINS["car"].geometry),
        (64, 64, "portraits", DOMAINS["portraits"].geometry),  # the shipped files
        (512, 256, None, Geometry(512, (256, 256))),
        (512, 512, "cats", Geometry(512, (512, 512))),
        (128, 128, "portraits", Geometry(128, (128, 128))),
        (128, 256, None, Geometry(128, (256, 256))),
    ],
)
def test_without_a_header_the_domain_decides_else_the_encoder(
    size: int, input_size: int, domain: str | None, geometry: Geometry, recwarn: pytest.WarningsRecorder
) -> None:
    sizes = GeneratorConfig(size, style_dim=8, mapping_layers=1, channels=(4,) * (size.bit_length() - 2))
    with torch.device("meta"):
        generator = Generator(sizes)
        encoder = E4E(E4EConfig(sizes.latent_rows, 8, (1, 1, 1, 1), (4, 4, 4, 4), input_size=input_size))
    source = {} if domain is None else {"domain": domain}
    bundle = Bundle({"generator": generator, "encoder": encoder}, source)
    assert geometry_of(bundle) == geometry
    known = geometry in (DOMAINS["car"].geometry, DOMAINS["portraits"].geometry)
    assert len(recwarn) == (0 if known else 1)  # what is assumed is printed


def test_a_training_writes_its_picture_sizes(tmp_path: Path) -> None:
    """DIPN and DICN say the sizes of the stack that they were trained in; so does a converted file of an older kind."""
    bundle = tiny_bundle(0)
    write_native(tmp_path / WHOLE, {role: bundle.networks[role] for role in ("generator", "encoder")}, {})
    entry = find_task("sdic")
    words = [f"model.frozen={tmp_path / WHOLE}", "model.layer=3", "loss.lpips=0", "loss.id=0"]
    words += ["loss.id_network=none", "validation.every=0"]
    with pytest.warns(UserWarning, match="picture sizes"):
        task = entry.build(load_config(entry.config, None, words), World(0, 1, torch.device("cpu")))
    with pytest.warns(UserWarning, match="picture sizes"):
        main(["convert", str(tmp_path / WHOLE), "--out", str(tmp_path / "new.safetensors")])
    write_native(tmp_path / "trained.safetensors", task.exported(), task.header())
    for name in ("trained.safetensors", "new.safetensors"):
        assert Geometry.from_text(read_bundle(tmp_path / name).source["geometry"]) == Geometry(64, (64, 64))


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
