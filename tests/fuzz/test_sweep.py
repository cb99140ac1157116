"""The sweep itself notices what it is for: another exception, a hang, a process that dies."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fuzz import seeds, sweep
from tests.fuzz.longrun import run
from tests.fuzz.parsers import PARSERS, Parser


def _raises(path: Path) -> None:
    if b"weights.pt\n" not in path.read_bytes():
        raise KeyError("x")


def _hangs(path: Path) -> None:
    if b"weights.pt\n" not in path.read_bytes():
        time.sleep(5)


def test_another_exception_and_a_hang_are_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PARSERS, "raises", Parser(seeds.hash_notes, _raises, ()))
    monkeypatch.setitem(PARSERS, "hangs", Parser(seeds.hash_notes, _hangs, ()))
    (tmp_path / "kept").mkdir()
    outcome = sweep.sweep("raises", 20, tmp_path / "a", keep=tmp_path / "kept")
    assert len(list((tmp_path / "kept").iterdir())) == len(outcome.wrong)
    assert outcome.inputs == 20
    assert len(outcome.wrong) == 20 - outcome.accepted > 0
    assert "KeyError" in outcome.wrong[0]
    hung = sweep.sweep("hangs", 20, tmp_path / "b", limit=0.05)
    assert "TooSlow: over 0.05 s" in hung.wrong[0]


def test_every_input_is_made_again_by_its_number(tmp_path: Path) -> None:
    """A line of the summary names seed, number and count: those words make the same bytes."""
    for name, parser in PARSERS.items():
        for again in ("first", "second"):
            (tmp_path / again / name).mkdir(parents=True)
        first, second = (
            [blob for _, blob in sweep.inputs(parser, parser.seeds(tmp_path / again / name), 40, 3)]
            for again in ("first", "second")
        )
        assert first == second
        assert len(first) == 40


def test_a_long_run_sums_up_its_processes(tmp_path: Path) -> None:
    text, clean = run(["hash note"], 30, 1, 5.0, 1, tmp_path)
    assert clean
    assert "| hash note | 30 |" in text


def test_the_closed_lists_are_narrow() -> None:
    from sdic.errors import SdicError

    for name, parser in PARSERS.items():
        assert all(issubclass(kind, SdicError) and kind is not SdicError for kind in parser.allowed), name
