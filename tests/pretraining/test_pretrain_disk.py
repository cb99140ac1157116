"""Stages on damaged states and full disks: a line, and the same end as an undisturbed run."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from sdic.errors import CheckpointError, SdicError
from sdic.pretraining import build as building
from sdic.pretraining.build import Plan, build
from sdic.pretraining.loop import train
from sdic.training.state_files import list_states, step_of


def results(folder: Any) -> dict[str, bytes]:
    names = ("metrics.jsonl", "result/metrics.json", "result/attributes.safetensors", "result/samples.png")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("number", range(10))
def test_whatever_file_cannot_be_written_the_stage_goes_on_exactly(
    workshop: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # config; picture, piece and index of step 2; piece and index of 4; sample, weights, config, metrics.json
    run, real, calls = f"full-{number}", os.fsync, iter(range(1000))
    folder = workshop.root / run

    def fsync(descriptor: int) -> None:
        if next(calls) >= number:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(SdicError, match=r"No space left on device\. The run ends here\.") as caught:
            train(workshop.stage("attributes", run=run))
    states = list_states(folder / "state")
    assert (states[-1].name if states else "No state") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert train(workshop.stage("attributes", run=run))
    assert results(folder) == results(workshop.root / "attributes")


def test_a_damaged_state_is_named_and_the_older_one_goes_on(workshop: Any) -> None:
    folder = workshop.root / "damaged"
    assert train(workshop.stage("attributes", run="damaged"))
    (folder / "result" / "metrics.json").unlink()
    states = list_states(folder / "state")
    assert [step_of(path) for path in states] == [2, 4]
    piece = folder / "state" / "state-00000004.000"
    content = bytearray(piece.read_bytes())
    content[len(content) // 2] ^= 1
    piece.write_bytes(content)
    with open(folder / "metrics.jsonl", "ab") as handle:
        handle.write(b"\xff\xfe\n")
    assert train(workshop.stage("attributes", run="damaged"))
    said = (folder / "log.txt").read_text()
    assert said.count("state-00000004.json is damaged and left out") == 1
    assert "1 lines cannot be read" in said
    assert results(folder) == results(workshop.root / "attributes")


def test_a_stage_without_a_whole_state_is_refused(workshop: Any) -> None:
    folder = workshop.root / "hopeless"
    assert train(workshop.stage("attributes", run="hopeless"))
    (folder / "result" / "metrics.json").unlink()
    for path in (folder / "state").glob("*.json"):
        path.write_bytes(b"\xff{")
    with pytest.raises(CheckpointError, match=r"none of the 2 states.*run\.dir"):
        train(workshop.stage("attributes", run="hopeless"))


def test_what_ships_to_a_full_disk_ends_with_a_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> bool:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(building, "_make", full)
    plan = Plan("_debug", tmp_path / "out", tmp_path / "runs", tmp_path / "editings", device="cpu")
    with pytest.raises(SdicError, match=r"Read-only file system\..*the same command"):
        build(plan, ("attributes",), print)
