"""Stages on damaged states and full disks: a line, and the same end as an undisturbed run."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from sdic.errors import CheckpointError, SdicError
from sdic.portraits import build as building
from sdic.portraits.build import Plan, build
from sdic.training.state_files import images_of, list_states


def results(folder: Any) -> dict[str, bytes]:
    names = ("metrics.jsonl", "result/metrics.json", "result/attributes.safetensors", "result/samples.png")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.parametrize("number", range(10))
def test_whatever_file_cannot_be_written_the_stage_goes_on_exactly(
    workshop: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    # config; picture, weights and state of 8 images; picture, weights and state of 16; sample, result, config
    run, real, calls = f"full-{number}", os.fsync, iter(range(1000))
    folder = workshop.root / run

    def fsync(descriptor: int) -> None:
        if next(calls) >= number:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(SdicError, match=r"No space left on device\. The run ends here\.") as caught:
            workshop.trainer("attributes", run=run).run()
    states = list_states(folder / "checkpoints")
    assert (states[-1].name if states else "No state") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert workshop.trainer("attributes", run=run).run() == 0
    assert results(folder) == results(workshop.root / "attributes")


def test_a_damaged_state_is_named_and_the_older_one_goes_on(workshop: Any) -> None:
    folder = workshop.root / "damaged"
    assert workshop.trainer("attributes", run="damaged").run() == 0
    (folder / "result" / "metrics.json").unlink()
    states = list_states(folder / "checkpoints")
    assert [images_of(path) for path in states] == [8, 16]
    piece = folder / "checkpoints" / "state-00000016.pt"
    content = bytearray(piece.read_bytes())
    content[len(content) // 2] ^= 1
    piece.write_bytes(content)
    with open(folder / "metrics.jsonl", "ab") as handle:
        handle.write(b"\xff\xfe\n")
    assert workshop.trainer("attributes", run="damaged").run() == 0
    said = (folder / "log.txt").read_text()
    assert said.count("state-00000016.pt is damaged and left out") == 1
    assert "1 lines cannot be read" in said
    assert results(folder) == results(workshop.root / "attributes")


def test_a_stage_without_a_whole_state_is_refused(workshop: Any) -> None:
    folder = workshop.root / "hopeless"
    assert workshop.trainer("attributes", run="hopeless").run() == 0
    (folder / "result" / "metrics.json").unlink()
    for path in (folder / "checkpoints").glob("state-*"):
        path.write_bytes(b"\xff{")
    with pytest.raises(CheckpointError, match=r"none of the 2 states.*run\.dir"):
        workshop.trainer("attributes", run="hopeless").run()


def test_what_ships_to_a_full_disk_ends_with_a_line(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> bool:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(building, "_make", full)
    plan = Plan("_debug", tmp_path / "out", tmp_path / "runs", tmp_path / "editings", device="cpu")
    with pytest.raises(SdicError, match=r"Read-only file system\..*the same command"):
        build(plan, ("attributes",), print)
