"""A small folder of photos, and the untrained 64 px model loaded once, with a count of who asks for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from runner_helpers import write_photo

import sdic
from sdic.cli import main
from sdic.types import Inversion


@pytest.fixture(scope="session")
def tiny():
    torch.set_num_threads(1)
    return sdic.load("tiny", "cpu")


INVERSIONS: dict[bytes, Inversion] = {}


def _once(invert: Callable[..., Inversion], image: torch.Tensor) -> Inversion:
    """The real model's inversion, computed once per photo and session: most tests use the same few photos."""
    key = image.numpy().tobytes()
    if key not in INVERSIONS:
        INVERSIONS[key] = invert(image)
    return INVERSIONS[key]


@pytest.fixture
def model(tiny, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Counts of what a run asks of the model: loads, photos inverted, edits."""
    calls = SimpleNamespace(loads=0, photos=0, edits=0, inverter=tiny)

    def load(name: str, device: str = "auto", precision: str = "fp32"):
        assert name == "tiny"
        calls.loads += 1
        return tiny

    real_invert, real_edit = tiny.invert, tiny.edit

    def invert(images):
        calls.photos += len(images)
        return Inversion.cat([_once(real_invert, image[None]) for image in images])

    def edit(inversion, *arguments, **options):
        calls.edits += len(inversion)
        return real_edit(inversion, *arguments, **options)

    monkeypatch.setattr("sdic.runner.model.load", load)
    monkeypatch.setattr(tiny, "invert", invert)
    monkeypatch.setattr(tiny, "edit", edit)
    return calls


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three good photos, one of them in a folder, one with a name that is not ASCII."""
    folder = tmp_path / "photos"
    for seed, name in enumerate(("anna.png", "more/bo.jpg", "more/jürgen 東京.png")):
        write_photo(folder / name, seed)
    return folder


@pytest.fixture
def run(tmp_path: Path, photos: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """`run("invert", ...)` -> (exit code, report.json); photos, --out and --model are filled in."""

    def call(command: str, *words: str, inputs: Path | None = None, report: str = "report.json"):
        out = tmp_path / "out"
        code = main([command, str(inputs or photos), "--out", str(out), "--model", "tiny", *words])
        file = out / report
        return code, json.loads(file.read_text()) if file.is_file() else {}

    return call
