"""What `pip install .` brings along besides the code."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent


def test_our_weights_directions_and_examples_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("setup.py", "requirements.txt", "README.md", "sdic/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    ours = [
        "editings/manifest.yaml",
        "editings/portraits/age.safetensors",
        "pretrained/portraits/sdic.safetensors",
        "pretrained/portraits/sdic.safetensors.sha256",
        "pretrained/portraits/examples/1.png",
    ]
    others = ["editings/age.pt", "pretrained/sdic_ffhq.pt", "pretrained/portraits/sdic.log"]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    said: dict[str, Any] = {}
    monkeypatch.setattr("setuptools.setup", said.update)
    monkeypatch.chdir(tmp_path)
    runpy.run_path("setup.py")
    installed = {f"{target}/{Path(name).name}": name for target, names in said["data_files"] for name in names}
    assert installed == {f"share/sdic/{name}": name for name in ours}
