"""Folders with methods that compose and that optimise every photo: progress within a photo, and what a stop keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runner_helpers import content, statuses

from sdic.cli import main
from sdic.types import Inversion

SHORT = ["--option", "steps=2", "--option", "perceptual=none", "--device", "cpu"]


def done(words: list[str], out: Path) -> tuple[int, dict[str, Any]]:
    code = main([*words, "--out", str(out)])
    file = out / "report.json"
    return code, json.loads(file.read_text()) if file.is_file() else {}


def test_a_stop_in_the_middle_of_a_folder_keeps_what_is_done(photos, tmp_path, monkeypatch, capsys):
    import sdic.methods.pti as method

    words = ["invert", str(photos), "--model", "tiny-e4e", "--refine", "pti", *SHORT, "--save-inversions"]
    real, calls = method.tune, [0]

    def stopped(*arguments):
        calls[0] += 1
        if calls[0] == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(method, "tune", stopped)
    code, report = done(words, tmp_path / "out")
    assert code == 130
    assert sorted(statuses(report).values()) == ["done", "done", "not finished"]
    assert "2 of 3 photos are finished and kept" in capsys.readouterr().err
    code, report = done(words, tmp_path / "out")
    assert code == 0
    assert calls[0] == 4  # one more photo
    assert sorted(statuses(report).values()) == ["done", "skipped", "skipped"]
    assert done(words, tmp_path / "straight")[0] == 0
    assert content(tmp_path / "out") == content(tmp_path / "straight")


def test_saved_inversions_are_edited_without_tuning_again(photos, tmp_path, monkeypatch):
    model = ["--model", "tiny-e4e", "--refine", "pti", *SHORT]
    assert done(["invert", str(photos / "anna.png"), *model, "--save-inversions"], tmp_path / "a")[0] == 0
    saved = tmp_path / "a" / "inversions" / "anna.safetensors"
    assert Inversion.load(saved).method == "tiny-e4e+pti"
    monkeypatch.setattr("sdic.methods.pti.tune", None)
    edits = ["--edit", "pc0=0", "--edit", "pc0=3"]
    code, report = done(["edit", str(saved), *model[:4], *edits, "--device", "cpu"], tmp_path / "b")  # without AlexNet
    assert code == 0, report
    pictures = {path.parent.name: path.read_bytes() for path in (tmp_path / "b").rglob("anna.png")}
    assert pictures["pc0=0"] == pictures["inversion"] == (tmp_path / "a" / "inversion" / "anna.png").read_bytes()
    assert pictures["pc0=3"] != pictures["pc0=0"]


def test_progress_within_a_photo_is_said(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sdic.runner.report.EVERY", 0.0)
    words = ["invert", str(photos), "--model", "tiny", "--method", "pti", *SHORT, "--option", "pivot_steps=2"]
    assert done(words, tmp_path / "out")[0] == 0
    lines = capsys.readouterr().err.splitlines()
    assert "photo 1 of 3: code, step 2 of 2" in lines
    assert "photo 3 of 3: tuning, step 1 of 2" in lines


def test_a_missing_network_is_said_before_anything_is_written(photos, tmp_path, capsys):
    words = ["--model", "tiny", "--method", "wplus", "--device", "cpu"]
    assert main(["invert", str(photos), *words, "--out", str(tmp_path / "out")]) == 2
    assert "needs torchvision's AlexNet" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    np.save(tmp_path / "code.npy", torch.randn(10, 64).numpy())  # codes look through nothing
    assert main(["edit", str(tmp_path / "code.npy"), *words, "--edit", "pc0=1", "--out", str(tmp_path / "out")]) == 0


def test_another_method_of_the_model(photos, tmp_path):
    one = ["invert", str(photos / "anna.png"), "--device", "cpu", "--model"]
    assert done([*one, "tiny", "--method", "e4e"], tmp_path / "a")[0] == 0
    assert done([*one, "tiny-e4e"], tmp_path / "b")[0] == 0
    assert content(tmp_path / "a")["inversion/anna.png"] == content(tmp_path / "b")["inversion/anna.png"]
    code, report = done([*one, "tiny", "--method", "e4e", "--refine", "wplus", *SHORT], tmp_path / "a")
    assert code == 0
    assert statuses(report) == {"anna.png": "done"}  # not taken for the one that is there


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--refine", "tiny"], "does not go on"),
        (["--refine", "e4e"], "'e4e' does not go on from another method's codes"),
        (["--refine", "ptii"], "'ptii' is neither a model"),
        (["--method", "ptii"], "did you mean 'pti'"),
        (["--refine", "pti", "--option", "step=3"], "did you mean 'steps'"),
        (["--refine", "pti", *SHORT, "--option", "start.steps=3"], "method 'e4e' has no option 'steps'"),
    ],
)
def test_what_cannot_be_is_refused(photos, tmp_path, capsys, words, said):
    model = "tiny" if words == ["--refine", "tiny"] else "tiny-e4e"
    said = "is more than its code" if model == "tiny" else said
    assert main(["invert", str(photos), "--out", str(tmp_path / "out"), "--model", model, *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) <= 2
