"""The command that makes everything: order, skipping, the clock, what ships."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import sdic
from sdic import zoo
from sdic.checkpoints import read_bundle
from sdic.cli import main
from sdic.commands import build as command
from sdic.errors import ConfigError, UnknownNameError
from sdic.portraits import build as building
from sdic.portraits.build import Plan, build, describe, ship
from sdic.training.exporting import portable
from sdic.utils.files import sha256_of


def absolute_paths(folder: Path) -> list[str]:
    """Lines of shipped texts that name a place on this machine."""
    texts = [path for path in folder.iterdir() if path.suffix in (".yaml", ".json", ".log", ".sha256")]
    places = (str(folder.parent), str(building.REPOSITORY))
    return [line for path in texts for line in path.read_text().splitlines() if any(p in line for p in places)]


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("_debug", tmp_path / "out", tmp_path / "runs", tmp_path / "editings", device="cpu")


def test_two_stages_are_made_then_skipped(plan: Plan) -> None:
    lines: list[str] = []
    assert build(plan, ("attributes", "identity"), lines.append)
    for name in ("attributes", "identity"):
        kinds = {p.suffix for p in plan.out.glob(f"{name}.*")}
        assert kinds == {".safetensors", ".sha256", ".yaml", ".json", ".log", ".png"}
        assert read_bundle(plan.out / f"{name}.safetensors").source["domain"] == "portraits"
    assert str(plan.runs) in (plan.runs / "attributes" / "result" / "config.yaml").read_text()
    assert absolute_paths(plan.out) == []
    times = {path: path.stat().st_mtime_ns for path in plan.out.iterdir()}
    assert build(plan, ("attributes", "identity"), lines.append)
    assert times == {path: path.stat().st_mtime_ns for path in plan.out.iterdir()}
    assert "attributes: is there" in lines
    assert "of 40" in lines[-1]


def test_the_clock_stops_before_the_next_stage(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(building, "_make", lambda plan, name, minutes: made.append(name) is None)
    now = iter(range(0, 10_000, 61))  # every look at the clock is a minute later
    monkeypatch.setattr(building.time, "monotonic", lambda: float(next(now)))
    limited = Plan(plan.variant, plan.out, plan.runs, plan.editings, minutes=2.5)
    assert not build(limited, say=lambda message: None)
    assert made == ["pictures", "attributes"]


def test_too_much_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(bytes(3 * 2**20))
    assert "3.00 MiB" in describe(tmp_path)
    assert "TOO MUCH" not in describe(tmp_path)
    with open(tmp_path / "b.safetensors", "wb") as handle:
        handle.truncate(41 * 2**20)
    assert "TOO MUCH" in describe(tmp_path)


def test_sdic_is_trained_on_what_the_stages_made(
    workshop: Any, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan.out.mkdir()
    for name in ("attributes", "identity", "generator", "encoder"):
        (plan.out / f"{name}.safetensors").write_bytes(workshop.file({"encoder": "e4e"}.get(name, name)).read_bytes())
    assert build(plan, ("sdic",), lambda message: None)
    bundle = read_bundle(plan.out / "sdic.safetensors")
    assert set(bundle.networks) == {"dipn", "dicn"}
    assert bundle.source["frozen"] == "encoder.safetensors"
    assert {"psnr", "perceptual", "id"} <= set(json.loads((plan.out / "sdic.json").read_text()))
    assert {"perceptual", "id"} <= set(json.loads((plan.runs / "sdic" / "metrics.jsonl").read_text().splitlines()[0]))
    assert absolute_paths(plan.out) == []
    header = (plan.out / "sdic.safetensors").read_bytes()[:4000].decode(errors="replace")
    assert str(plan.out.parent) not in header
    # The folder works wherever it is, from wherever it is asked for.
    moved = plan.out.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    inverter = sdic.load(moved / "sdic.safetensors", "cpu")
    assert (inverter.method, inverter.layer) == ("sdic", 3)


def test_new_weights_replace_the_note_of_the_old_ones(workshop: Any, plan: Plan) -> None:
    plan.out.mkdir()
    weights, note = plan.out / "attributes.safetensors", plan.out / "attributes.safetensors.sha256"
    weights.write_bytes(b"older weights")
    zoo.remember_sha256(weights, "0" * 64)
    ship(plan, "attributes", workshop.root / "attributes" / "result", Path("nowhere"), {"frozen": "one.safetensors"})
    assert note.read_text() == f"{sha256_of(weights)}  attributes.safetensors\n"
    assert zoo.known_sha256(zoo.card("portraits-attributes").files[0], weights) == sha256_of(weights)
    before, after = (read_bundle(path) for path in (workshop.file("attributes"), weights))
    assert (before.source.get("frozen"), after.source["frozen"]) == (None, "one.safetensors")
    assert before.source["domain"] == after.source["domain"] == "portraits"
    for name, tensor in before.networks["attribute_net"].state_dict().items():
        assert torch.equal(after.networks["attribute_net"].state_dict()[name], tensor), name


def test_texts_lose_their_absolute_paths() -> None:
    below, elsewhere = building.REPOSITORY / "runs/x.safetensors", "/somewhere/else/x.zip"
    text = f'a={below}\n{{"b": "{elsewhere}"}} 9 images/s, 1 / 2, https://one.org/two'
    assert portable(text) == 'a=runs/x.safetensors\n{"b": "x.zip"} 9 images/s, 1 / 2, https://one.org/two'


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_intermixed_args(words)


def test_the_command_trains_one_stage(workshop: Any, tmp_path: Path) -> None:
    words = ["train", "attributes", "--config", str(workshop.config("attributes"))]
    words += [f"run.dir={tmp_path}", f"data.cache={workshop.root / 'cache'}"]
    assert main([*words, "run.minutes=1e-6"]) == 3
    assert main(words) == 0


def test_former_words_give_a_line_with_the_new_ones(capsys: pytest.CaptureFixture[str]) -> None:
    for words, now in {
        ("pretrain", "all", "--variant", "64"): "`sdic build portraits`",
        ("pretrain", "encoder", "--config", "x.yaml"): "`sdic train e4e`",
        ("pretrain", "attributes"): "`sdic train attributes`",
        ("train", "--config", "configs/train/debug.yaml"): "sdic train sdic --config configs/train/debug.yaml",
        ("train", "run.images=4"): "sdic train sdic",
        ("train", "attribute"): "did you mean 'attributes'",
    }.items():
        assert main(list(words)) == 2
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert now in said[0]


def test_what_is_found_in_one_go_has_no_run_to_describe(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "directions", "--dry-run", "samples=9"]) == 0
    assert "samples: 9" in capsys.readouterr().out


def test_wrong_words_are_refused(plan: Plan) -> None:
    with pytest.raises(ConfigError, match="STAGE:key=value"):
        command.run(_parsed("portraits", "run.images=3"))
    with pytest.raises(UnknownNameError, match="encoder"):
        build(plan, ("encoders",))
    with pytest.raises(UnknownNameError, match="_64"):
        Plan("64", plan.out, plan.runs, plan.editings)
