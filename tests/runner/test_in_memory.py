"""The runner's pipeline on one photo in memory: the pictures of a folder run, and no folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdic.editing.words import parse_edits
from sdic.errors import CheckpointError
from sdic.runner.model import LazyModel
from sdic.runner.pipeline import Pipeline
from sdic.runner.settings import RunSettings
from sdic.types import Inversion

EDITS = ["pc0=2", "pc1=-1"]


@pytest.fixture
def pipeline(model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """In an empty folder, where nothing may appear."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    lazy = LazyModel(RunSettings(model="tiny"))
    return Pipeline(lazy, parse_edits(EDITS, lazy.domain() or ""))


def test_the_pictures_are_those_of_a_run(pipeline, run, photos, tmp_path):
    assert run("edit", "--edit", EDITS[0], "--edit", EDITS[1])[0] == 0
    with Image.open(photos / "more" / "bo.jpg") as photo:
        job = pipeline.one(photo.convert("RGB"))
    assert set(job.pictures) == {"inversion", *EDITS, "photo", "first reconstruction"}
    for label in ("inversion", *EDITS):
        with Image.open(tmp_path / "out" / label / "more" / "bo.png") as picture:
            assert np.array_equal(np.asarray(picture), np.asarray(job.pictures[label]))
    assert not list(Path().iterdir())


def test_it_goes_on_from_an_inversion_or_a_code(pipeline, model):
    job = pipeline.one(Image.new("RGB", (100, 80), (90, 120, 150)))
    assert any("not square" in note for note in job.notes)
    asked = model.photos
    again = pipeline.one(job.inversion)
    assert again.pictures == job.pictures
    code = pipeline.one(job.inversion.latent[0])
    assert set(code.pictures) == {"inversion", *EDITS}
    assert model.photos == asked
    with pytest.raises(CheckpointError, match="holds 2 inversions"):
        pipeline.one(Inversion.cat([job.inversion, job.inversion]))


def test_without_a_folder_no_notes_are_read_or_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sdic.checkpoints import write_native
    from sdic.tiny import tiny_bundle

    networks = tiny_bundle(0).networks
    write_native(tmp_path / "mine.safetensors", {role: networks[role] for role in ("generator", "encoder")})
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".sdic").mkdir()
    (tmp_path / ".sdic" / "weights.json").write_text("[1]")
    first = LazyModel(RunSettings(model="mine.safetensors")).identity
    assert len(first["weights"]) == 64
    assert (tmp_path / ".sdic" / "weights.json").read_text() == "[1]"
    assert LazyModel(RunSettings(model="mine.safetensors", out=".")).identity == first  # notes of any content
    assert first["weights"] in (tmp_path / ".sdic" / "weights.json").read_text()


def test_a_model_that_cannot_be_loaded_is_tried_once(run, photos, monkeypatch: pytest.MonkeyPatch, capsys):
    tried = []

    def load(*words, **options):
        tried.append(words)
        raise CheckpointError("no such weights")

    monkeypatch.setattr("sdic.runner.model.load", load)
    code, report = run("invert")
    assert code == 2
    assert len(tried) == 1
    assert "no such weights" in capsys.readouterr().err
    assert {line["status"] for line in report["files"]} == {"not finished"}
