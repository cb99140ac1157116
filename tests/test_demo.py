"""scripts/demo.sh: the trained model where its files are, else the untrained one. Python is a stand-in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sdic.cli import build_parser

ROOT = Path(__file__).resolve().parent.parent
FILES = [
    *(f"pretrained/portraits/{name}" for name in ("generator", "encoder", "sdic", "attributes", "identity")),
    *(f"editings/portraits/{name}" for name in ("age", "yaw", "smile")),
]


def run_demo(clone: Path, files: list[str]) -> list[list[str]]:
    """The `sdic` commands that the script runs in a clone with these files."""
    (clone / "scripts").mkdir()
    for name in ("scripts/demo.sh", "scripts/environment.sh", "setup.py", "requirements.txt"):
        shutil.copy(ROOT / name, clone / name)
    for name in files:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / f"{name}.safetensors").touch()
    python, calls = clone / "venv" / "bin" / "python", clone / "calls"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> "{calls}"\n')
    python.chmod(0o755)
    environment = {**os.environ, "VIRTUAL_ENV": str(clone / "venv")}
    subprocess.run(["bash", "scripts/demo.sh"], cwd=clone, env=environment, check=True, capture_output=True)
    words = [line.split() for line in calls.read_text().splitlines()]
    return [line[2:] for line in words if line[:2] == ["-m", "sdic"]]


@pytest.mark.parametrize("trained", [True, False])
def test_the_demo_takes_the_best_model_that_is_here(tmp_path: Path, trained: bool) -> None:
    commands = run_demo(tmp_path, FILES if trained else FILES[:-1])
    assert [words[0] for words in commands] == (["edit", "evaluate"] if trained else ["edit"])
    for words in commands:
        _, children = build_parser(words[0])
        children[words[0]].parse_args(words[1:])
        assert words[1] == "examples"
    model = commands[0][commands[0].index("--model") + 1]
    assert model == ("portraits" if trained else "tiny")
