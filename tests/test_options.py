"""No option of a command is accepted and then ignored: each changes what the command does, or is refused by name."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest

from sdic import cli
from sdic.checkpoints import Bundle
from sdic.cli import main
from sdic.evaluation.run import Result

VALUES = {
    "batch_size": "3",
    "change": "yaw=5",
    "config": "settings.yaml",
    "device": "cpu",
    "detector": "yunet",
    "domain": "face",
    "edit_limit": "7",
    "edits": "pc1=3",
    "face": "all",
    "generator": "5",
    "limit": "2",
    "methods": "e4e",
    "minutes": "0.0001",
    "precision": "bf16",
    "rule": "released",
    "seed": "3",
    "shard": "0/2",
    "size": "64",
    "sheet": "2",
    "stages": "encoder",
    "variant": "64",
    "align align": "always",
    "align device": "meta",
    "align size": "64",
    "align face": "2",
    "along": "normal",
    "beta": "0.2",
    "components": "3",
    "extremes": "0.2",
    "fit": "svm",
    "fps": "5",
    "option": "layer=7",
    "probes": "3",
    "rows": "4,8-11",
    "samples": "30",
    "space": "w+",
    "steps": "5",
    "strength": "0.5",
    "t": "0.3",
    "take": "2",
    "batch": "3",
    "top": "5",
}
"""Of options that take one (of every command, or of one), not the default; paths and names that need not exist are made
up."""
PLACES = {
    "inputs": "other.png",
    "photos": "folder",
    "settings": "run.seed=5",
    "task": "",
    "domain": "",
    "names": "yunet",
    "edited": "others",
    "name": "smile",
}
"""Arguments without dashes."""
BASES = {
    "invert": [["photo.png", "--out", "o", "--model", "tiny"]],
    "edit": [["photo.png", "--out", "o", "--model", "tiny", "--edit", "pc0=1"]],
    "align": [["photo.png", "--out", "o"]],
    "paste": [["edited", "--crops", "crops.json", "--out", "o"]],
    "download": [["faces"], ["portraits-identity"]],
    "models": [[]],
    "convert": [["source.safetensors", "--out", "new.safetensors"], ["source.safetensors", "--out", "old.safetensors"]],
    "train": [["sdic"], ["directions"]],
    "evaluate": [[], ["photos"], ["--edit-limit", "0"], ["--generator", "4"]],
    "build": [["portraits"]],
    "interpolate": [["a.png", "b.png", "--out", "o", "--model", "tiny"]],
    "mix": [["a.png", "b.png", "--out", "o", "--model", "tiny", "--rows", "8-17"]],
    "directions find": [["age", "--model", "tiny", "--out", "age.safetensors"]],
    "directions channels": [["age", "--model", "tiny", "--out", "age.safetensors"]],
    "directions pca": [["--model", "tiny", "--out", "pca.npz"]],
    "directions draw": [["--model", "tiny", "--out", "o"]],
    "directions styleclip": [["--table", "t.npy", "--stats", "s", "--text", "t.npy", "--out", "d.safetensors"]],
    "directions list": [[]],
    "directions show": [["age", "--domain", "portraits"]],
    "directions check": [[]],
}
"""Every way to use a command, without the option that is tried."""
NOTHING_TO_DO = {
    ("download", "force", 0),  # it is not here
    ("paste", "edited", 0),  # refused: one folder at a time
    ("convert", "force", 0),  # there is nothing to overwrite
    ("convert", "half", 1),  # refused in any case, the file is there
    ("convert", "trust", 1),
    ("evaluate", "edit_limit", 1),  # 0, as in the third way, is what happens anyway
}


FOUND = SimpleNamespace(
    report={
        "name": "age",
        "accuracy": 0.9,
        "samples": 12,
        "fit": "svm",
        "limits": (-3, 3),
        "unit": "years",
        "channels": [],
        "left_out": [],
    }
)
"""What a search for a direction gives."""
OPENED = SimpleNamespace(generator=None, identity="", domain="")


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """What the commands ask of the parts below them, instead of those parts."""
    made: list[str] = []

    def record(name, value):
        return lambda *words, **more: (made.append(f"{name} {words} {more}"), value)[1]

    monkeypatch.setattr("sdic.runner.run.run", record("run", 0))
    monkeypatch.setattr("sdic.runner.between.run", record("between", 0))
    monkeypatch.setattr("sdic.finding.find", record("find", FOUND))
    monkeypatch.setattr("sdic.finding.rank", record("rank", FOUND))
    monkeypatch.setattr("sdic.finding.draw", record("draw", "codes.npy"))
    monkeypatch.setattr("sdic.finding.opening.Opened.of", record("open", OPENED))
    monkeypatch.setattr("sdic.editing.ganspace.save_components", record("components", [0.5]))
    monkeypatch.setattr("sdic.editing.styleclip.read_styleclip", record("styleclip", None))
    monkeypatch.setattr("sdic.editing.directions.load_direction", record("direction", None))
    monkeypatch.setattr("sdic.editing.directions.save_direction", record("save", None))
    monkeypatch.setattr("sdic.editing.catalogue.description", record("describe", {"channels": 3}))
    monkeypatch.setattr("sdic.editing.catalogue.check", record("check", []))
    monkeypatch.setattr("sdic.training.loop.train", record("train", 0))
    monkeypatch.setattr("sdic.portraits.build.build", record("build", True))
    monkeypatch.setattr("sdic.evaluation.run.evaluate", record("evaluate", Result({}, "", [], [], [])))
    monkeypatch.setattr("sdic.checkpoints.read_bundle", record("read", Bundle({}, {"sha256": "0" * 64})))
    monkeypatch.setattr("sdic.checkpoints.write_native", record("write", None))
    align, paste = record("align", 0), record("paste", 0)
    monkeypatch.setattr("sdic.faces.folder.align_folder", lambda *words: align(*words[:4]))  # without what prints
    monkeypatch.setattr("sdic.faces.folder.paste_folder", lambda *words: paste(*words[:3]))
    monkeypatch.setattr("sdic.faces.finding.Aligner", record("aligner", "the aligner"))
    monkeypatch.setattr("sdic.download.fetch", record("fetch", tmp_path / "old.safetensors"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.safetensors").touch()
    (tmp_path / "settings.yaml").write_text("run:\n  seed: 7\n")
    return made


def done(words: list[str], calls: list[str], capsys) -> tuple:
    """Everything that tells one call of a command from another."""
    calls.clear()
    for path in Path().glob("*.json"):
        path.unlink()
    try:
        code = main(words)
    except SystemExit as error:
        code = error.code
    out, error = capsys.readouterr()
    return code, list(calls), out, sorted(str(path) for path in Path().rglob("*")), error


def parsers() -> dict[str, argparse.ArgumentParser]:
    """That of every command; of a command with actions, those of the actions."""
    found = {}
    for command, child in cli.build_parser()[1].items():
        inner = [action for action in child._actions if isinstance(action, argparse._SubParsersAction)]
        found |= {f"{command} {word}": parser for action in inner for word, parser in action.choices.items()}
        found |= {} if inner else {command: child}
    return found


def options() -> list[tuple[str, str, int]]:
    found = []
    for command, child in parsers().items():
        for action in child._actions:
            if action.dest != "help":
                found += [(command, action.dest, index) for index in range(len(BASES.get(command, [[]])))]
    return found


@pytest.mark.parametrize(("command", "dest", "way"), options())
def test_every_option_is_heeded_or_refused(command, dest, way, calls, capsys, tmp_path):
    assert command in BASES, f"{command}: a new command; say above how it is used"
    if (command, dest, way) in NOTHING_TO_DO or PLACES.get(dest) == "":
        return
    base = BASES[command][way]
    action = next(action for action in parsers()[command]._actions if action.dest == dest)
    if command in ("invert", "edit"):
        (tmp_path / "settings.yaml").write_text("limit: 7\n")
    made_up = f"made-up-{dest}.safetensors"
    if not action.option_strings:
        words = [*base, PLACES[dest]] if dest != "file" else ["other.pt", *base[1:]]
    elif action.nargs == 0:
        words = [*base, action.option_strings[-1]]
    else:
        words = [*base, action.option_strings[-1], VALUES.get(f"{command} {dest}", VALUES.get(dest, made_up))]
    *without, _ = done([*command.split(), *base], calls, capsys)
    *having, error = done([*command.split(), *words], calls, capsys)
    option = action.option_strings[-1] if action.option_strings else dest
    refused = having[0] == 2 and (option in error or not action.option_strings)
    assert refused or having != without, f"{' '.join(words)}: {option} is ignored"


@pytest.mark.parametrize(
    "words",
    [
        ["build", "portraits", "--device", "nonsense"],
        ["evaluate", "--device", "nonsense"],
        ["invert", "x.png", "--out", "o", "--model", "tiny", "--device", "nonsense"],
        ["edit", "x.png", "--out", "o", "--model", "tiny", "--edit", "pc0=1", "--device", "cuda:99"],
        ["train", "sdic", "device=nonsense", "run.dir=o"],
        ["train", "directions", "device=nonsense"],
    ],
)
def test_a_device_that_is_none_is_refused(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.png").touch()
    assert main(words) == 2
    error = capsys.readouterr().err
    assert words[-1].split("=")[-1] in error or "device" in error
    assert len(error.splitlines()) == 1


def test_minutes_of_a_build_are_none_or_some(calls, capsys):
    for minutes in ("-1", "nan"):
        assert main(["build", "portraits", "--minutes", minutes]) == 2
        assert "--minutes" in capsys.readouterr().err
