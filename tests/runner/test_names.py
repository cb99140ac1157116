"""Names of files may hold anything: a run ends with its report, and what people read is one line each."""

from __future__ import annotations

import json

import pytest
from runner_helpers import statuses, write_photo

from sdic.runner.report import Outcome
from sdic.runner.sheet import Row, make_sheets
from sdic.utils.text import printable

ODD = {
    "two\nlines.png": "two\\nlines.png",
    "\x1b[31mred\r.png": "\\x1b[31mred\\r.png",
    "tab\tbell\x07.png": "tab\\tbell\\x07.png",
    "line\u2028separator\u202egnp.png": "line\\u2028separator\\u202egnp.png",
}


@pytest.mark.parametrize("name", ODD)
def test_control_characters_are_escaped(name):
    assert printable(name) == ODD[name]
    assert printable(printable(name)) == printable(name)
    assert printable("Jürgen 東京 \u200d") == "Jürgen 東京 \u200d"


def test_names_with_control_characters_end_in_a_sheet_and_a_report(run, model, photos, tmp_path, capsys):
    for seed, name in enumerate(ODD):
        write_photo(photos / name, seed)
    (photos / "bad\nname.jpg").write_bytes(b"\xff\xd8no")
    for status in ("done", "skipped"):
        code, report = run("invert")
        assert code == 1
        found = statuses(report)
        assert all(found[shown] == status for shown in ODD.values())
        assert found["bad\\nname.jpg"] == "failed"
        assert report["sheets"] == ["sheet.png"]
        assert (tmp_path / "out" / "inversion" / "two\nlines.png").is_file()
        error = capsys.readouterr().err
        assert "failed: bad\\nname.jpg: " in error
        assert "bad\nname" not in error


def test_an_error_of_the_command_is_one_line(run, capsys, tmp_path):
    assert run("invert", inputs=tmp_path / "not\nhere")[0] == 2
    error = capsys.readouterr().err
    assert "not\\nhere" in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("error", [ValueError("a font\nwithout letters"), OSError(28, "No space left"), MemoryError()])
def test_a_sheet_that_cannot_be_drawn_is_a_warning(run, model, monkeypatch, capsys, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr("sdic.runner.sheet._draw", fail)
    code, report = run("invert")
    assert code == 0
    assert report["totals"]["done"] == 3
    assert report["sheets"] == []
    assert len(report["warnings"]) == 1
    assert "warning: no contact sheet" in capsys.readouterr().err


def test_a_run_stopped_at_its_sheet_has_its_report(run, model, monkeypatch, tmp_path):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("sdic.runner.run.make_sheets", stop)
    assert run("invert")[0] == 130
    assert json.loads((tmp_path / "out" / "report.json").read_text())["totals"]["done"] == 3


def test_other_sheets_and_reports_escape_too(tmp_path):
    write_photo(tmp_path / "a.png")
    assert make_sheets(tmp_path, "sheet", ["a\nlabel"], [Row("two\nlines", ("a.png",))], 1, 1) == ["sheet.png"]
    outcome = Outcome("a\nb", "failed", "no\nreason", ["one\x00"])
    assert (outcome.name, outcome.reason, outcome.warnings) == ("a\\nb", "no\\nreason", ["one\\x00"])
