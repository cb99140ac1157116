"""Models of one's own, whose files name no domain: the same answer at every run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from runner_helpers import content
from torch import nn

import sdic
from sdic.checkpoints import write_native
from sdic.cli import main
from sdic.editing.directions import load_direction, locate
from sdic.editing.ganspace import principal_components
from sdic.errors import ConfigError
from sdic.tiny import tiny_bundle


@pytest.fixture
def editings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directions of another domain, one of them called as a principal component is."""
    folder = tmp_path / "editings"
    folder.mkdir()
    np.save(folder / "other.npy", np.ones((1, 128), dtype=np.float32))
    np.save(folder / "brighter.npy", np.ones((1, 64), dtype=np.float32))
    (folder / "manifest.yaml").write_text(
        "directions:\n"
        "  - {name: pc0, domain: elsewhere, file: other.npy, default: 9}\n"
        "  - {name: brighter, domain: elsewhere, file: brighter.npy}\n"
    )
    monkeypatch.setenv("SDIC_EDITINGS", str(folder))
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A generator and e4e of 32 px, a size that is no known domain's."""
    networks: dict[str, nn.Module] = tiny_bundle(0, resolution=32).networks
    path = tmp_path / "mine.safetensors"
    write_native(path, {role: networks[role] for role in ("generator", "encoder")})
    return path


def test_components_are_the_models_own_at_every_run(editings, file, photos, tmp_path, capsys):
    reports, pictures = [], []
    for out in ("out", "out", "again"):
        words = ["edit", str(photos), "--out", str(tmp_path / out), "--model", str(file), "--edit", "pc0=1"]
        assert main(words) == 0, capsys.readouterr().err
        reports.append(json.loads((tmp_path / out / "report.json").read_text())["model"])
        pictures.append(content(tmp_path / out))
    assert reports[0] == reports[1] == reports[2]
    assert reports[0]["domain"] is None
    assert pictures[0] == pictures[1] == pictures[2]
    assert locate("pc0", "elsewhere").default == 1.0
    generator = tiny_bundle(0).networks["generator"]
    expected = principal_components(generator, 1)[0].delta
    assert torch.equal(load_direction("pc0", "elsewhere", generator).delta, expected)


def test_names_need_a_domain_and_it_can_be_said(editings, file, photos, tmp_path, capsys):
    words = ["edit", str(photos), "--out", str(tmp_path / "out"), "--model", str(file), "--limit", "1"]
    for _ in range(2):  # the answer does not depend on what an earlier run has noted
        assert main([*words, "--edit", "brighter=1"]) == 2
        error = capsys.readouterr().err
        assert "--domain" in error
        assert "elsewhere" in error
    assert main([*words, "--edit", "brighter=1", "--domain", "elsewhere"]) == 0
    assert (tmp_path / "out" / "brighter=1" / "anna.png").is_file()
    assert main([*words, "--edit", "brighter=1", "--domain", "elsewere"]) == 2
    assert "did you mean 'elsewhere'" in capsys.readouterr().err
    pictures = sdic.open_model(file, "cpu")
    with pytest.raises(ConfigError, match="domain=NAME"):
        pictures.direction("brighter")
    assert sdic.open_model(file, "cpu", domain="elsewhere").direction("brighter").name == "brighter"


def test_a_component_beyond_its_useful_range_is_warned_of(editings, run, model):
    assert run("edit", "--edit", "pc0=4")[1]["warnings"] == ["pc0=4 is outside its useful range -3 to 3"]


@pytest.mark.parametrize("word", ["rule=released", "domain=face", "edits=[pc0]"])
def test_what_belongs_to_editing_is_refused_by_invert(run, model, word, capsys):
    assert run("invert", word)[0] == 2
    assert "does not edit" in capsys.readouterr().err
