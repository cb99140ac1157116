"""What ranks of one torchrun tell each other: nothing but the records of the photos."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from runner_helpers import statuses

from sdic.runner import records


@pytest.fixture
def rank(run, monkeypatch: pytest.MonkeyPatch):
    """`rank(1, ...)` runs one of two ranks, as torchrun does it -> (exit code, report.json)."""

    def call(index: int, *words: str):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setenv("RANK", str(index))
        return run("edit", "--edit", "pc0=1", "wait_seconds=0.3", *words)

    return call


def test_rank_0_reports_what_the_others_records_say(rank, model, photos, tmp_path, capsys):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8no")  # the second of four, so rank 1's
    (photos / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    assert rank(1)[1] == {}
    code, report = rank(0)
    assert code == 1
    lines = {line["name"]: line for line in report["files"]}
    assert list(lines) == ["anna.png", "broken.jpg", "more/bo.jpg", "more/jürgen 東京.png", "phone.heic"]
    assert "not a picture" in lines["broken.jpg"]["reason"]
    assert "HEIC" in lines["phone.heic"]["reason"]
    assert lines["more/jürgen 東京.png"]["outputs"] == ["inversion/more/jürgen 東京.png", "pc0=1/more/jürgen 東京.png"]
    assert lines["more/jürgen 東京.png"]["inversion"] == "computed"
    assert sorted(path.name for path in (tmp_path / "out" / ".sdic").iterdir() if path.is_dir()) == [
        *("initial", "photo", "records"),
    ]
    rank(1)
    assert statuses(rank(0)[1]) == {**dict.fromkeys(lines, "skipped"), "broken.jpg": "failed", "phone.heic": "failed"}


def test_records_of_another_run_are_none_of_this_one(rank, model, tmp_path):
    def others() -> set[str]:
        return {status for name, status in statuses(rank(0)[1]).items() if name == "more/bo.jpg"}

    assert rank(1)[0] == 0
    assert others() == {"done"}
    assert others() == {"not finished"}  # the run before has ended with its report
    rank(1, "sheet_rows=2")
    assert others() == {"not finished"}  # other settings are another run
    rank(1)
    record = tmp_path / "out" / ".sdic" / "records" / "more" / "bo.json"
    hour = time.time() - 3600
    os.utime(record, (hour, hour))
    os.utime(tmp_path / "out" / "report.json", (hour - 1, hour - 1))
    assert others() == {"not finished"}  # a run that was killed long ago


def test_a_run_stopped_while_it_waits_has_its_report(rank, model, monkeypatch, capsys):
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(records.time, "sleep", stop)
    code, report = rank(0)
    assert code == 130
    assert statuses(report) == {"anna.png": "done", "more/jürgen 東京.png": "done"}
    assert "stopped: 2 of 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [{}, [], 3, {"outputs": {"inversion/anna.png": 3}, "warnings": []}, {"outputs": [], "warnings": {}, "last": 1}],
)
def test_a_record_of_any_content_costs_one_photo(run, model, tmp_path: Path, content):
    run("invert")
    (tmp_path / "out" / ".sdic" / "records" / "anna.json").write_text(json.dumps(content))
    assert run("invert")[1]["totals"]["done"] == 1
    assert model.photos == 4
    (tmp_path / "out" / ".sdic" / "records" / "anna.json").write_text('{"outputs": {}, "warnings": [], "last": 5}')
    assert run("invert")[0] == 0


def test_records_of_earlier_versions_count(run, model, tmp_path: Path):
    run("invert")
    for path in (tmp_path / "out" / ".sdic" / "records").rglob("*.json"):
        content = json.loads(path.read_text())
        path.write_text(json.dumps({name: content[name] for name in ("outputs", "warnings")}))
    assert run("invert")[1]["totals"]["skipped"] == 3
