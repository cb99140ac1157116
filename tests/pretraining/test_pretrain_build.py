"""The command that makes everything: order, skipping, the clock, what ships."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from sdic.checkpoints import read_bundle
from sdic.commands import pretrain
from sdic.errors import ConfigError, UnknownNameError
from sdic.pretraining import build as building
from sdic.pretraining.build import Plan, build, describe


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan("_debug", tmp_path / "out", tmp_path / "runs", tmp_path / "editings", device="cpu")


def test_two_stages_are_made_then_skipped(plan: Plan) -> None:
    lines: list[str] = []
    assert build(plan, ("attributes", "identity"), lines.append)
    for name in ("attributes", "identity"):
        assert {p.suffix for p in plan.out.glob(f"{name}.*")} == {".safetensors", ".yaml", ".json", ".log", ".png"}
    assert str(building.REPOSITORY) not in (plan.out / "attributes.yaml").read_text()
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


def test_sdic_is_trained_on_what_the_stages_made(workshop: Any, plan: Plan) -> None:
    plan.out.mkdir()
    for name in ("attributes", "identity", "generator", "encoder"):
        (plan.out / f"{name}.safetensors").write_bytes(workshop.file(name).read_bytes())
    assert build(plan, ("sdic",), lambda message: None)
    bundle = read_bundle(plan.out / "sdic.safetensors")
    assert set(bundle.networks) == {"dipn", "dicn"}
    assert "psnr" in json.loads((plan.out / "sdic.json").read_text())


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    pretrain.add_arguments(parser)
    return parser.parse_intermixed_args(words)


def test_the_command_trains_one_stage(workshop: Any, tmp_path: Path) -> None:
    config = building.REPOSITORY / "configs" / "portraits" / "attributes_debug.yaml"
    words = [f"run.dir={tmp_path}", f"data.cache={workshop.root / 'cache'}"]
    assert pretrain.run(_parsed("attributes", "--config", str(config), *words, "run.minutes=1e-6")) == 3
    assert pretrain.run(_parsed("attributes", "--config", str(config), *words)) == 0


def test_wrong_words_are_refused(plan: Plan) -> None:
    with pytest.raises(ConfigError, match="STAGE:key=value"):
        pretrain.run(_parsed("all", "run.steps=3"))
    with pytest.raises(UnknownNameError, match="encoder"):
        build(plan, ("encoders",))
    with pytest.raises(UnknownNameError, match="_64"):
        Plan("64", plan.out, plan.runs, plan.editings)
