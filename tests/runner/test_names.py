"""Names of files may hold anything: a run ends with its report, and what people read is one line each."""

from __future__ import annotations

import json

import pytest
import torch
from runner_helpers import statuses, write_photo

from sdic.cli import main
from sdic.direction import Direction
from sdic.editing.directions import save_direction
from sdic.runner.records import Outcome
from sdic.runner.sheet import Row, make_sheets
from sdic.types import Inversion
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
        assert all(found[name] == status for name in ODD.values())
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

    monkeypatch.setattr("sdic.runner.sheet.draw", fail)
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


def test_a_photo_may_begin_with_a_hyphen(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("-x.png", "--model", "plain.png")):
        write_photo(tmp_path / f"{name.removesuffix('.png')}.png", seed).rename(tmp_path / name)
    for words, names in ((["-x.png"], ["-x.png"]), (["plain.png", "--model"], ["--model", "plain.png"])):
        assert main(["invert", "--out", "out", "--model", "tiny", "--", *words]) == 0
        assert list(statuses(json.loads((tmp_path / "out" / "report.json").read_text()))) == names
    assert (tmp_path / "out" / "inversion" / "-x.png").is_file()


@pytest.mark.parametrize("letter", ["x", "é", "東"])
@pytest.mark.parametrize("length", [243, 244, 249, 251, 255])
def test_names_of_any_length_work(run, model, photos, tmp_path, letter, length):
    name = letter * ((length - 4) // len(letter.encode())) + ".png"
    write_photo(photos / name, 9)
    write_photo(photos / (name.removesuffix(".png") + "s" * (length < 255) + ".bmp"), 10)  # one that begins alike
    words = ["edit", "--edit", "pc0=1", "--save-inversions"]
    code, report = run(*words)
    assert code == 0, report
    lines = [line for line in report["files"] if line["name"][0] == letter]
    assert len({path for line in lines for path in line["outputs"]}) == 2 * 3
    assert all((tmp_path / "out" / path).is_file() for line in lines for path in line["outputs"])
    _, report = run(*words)
    assert report["totals"]["skipped"] == 5
    assert run(*words, "--edit", "pc0=2")[0] == 0
    assert model.photos == 5  # the saved inversions were found again


def test_a_name_without_an_ending_and_many_directions_may_be_long(run, model, photos, tmp_path):
    write_photo(photos / "a.png", 9).rename(photos / ("y" * 255))
    words = ",".join(f"pc{index}=-0.333333" for index in range(20))
    code, report = run("edit", "--edit", words)
    assert code == 0, report
    assert report["totals"]["done"] == 4


def test_equal_inversions_make_equal_files(tmp_path):
    tensors = {name: torch.arange(8.0).reshape(1, 2, 4) for name in ("latent", "base_latent")}
    inversion = Inversion(image=torch.zeros(1, 3, 4, 4), **tensors, method="tiny", generator="abc")
    for number in range(12):  # the library's order of the header's texts is random
        about = [("photo", "0"), ("model", "tiny"), ("weights", "seed 0"), ("name", "x")]
        inversion.save(tmp_path / f"{number}.safetensors", dict(about[number % 4 :] + about[: number % 4]))
        save_direction(tmp_path / f"d{number}.safetensors", Direction(torch.ones(4), name="same"))
    for kind in ("", "d"):
        assert len({(tmp_path / f"{kind}{number}.safetensors").read_bytes() for number in range(12)}) == 1
    again = Inversion.load(tmp_path / "0.safetensors")
    assert torch.equal(again.latent, inversion.latent)
    assert again.generator == "abc"


def test_a_saved_inversion_can_be_kept_again(run, model, tmp_path):
    assert run("invert", "--save-inversions")[0] == 0
    folder = tmp_path / "out" / "inversions"
    words = ["--model", "tiny", "--edit", "pc0=1", "--save-inversions"]
    assert main(["edit", str(folder), "--out", str(tmp_path / "copy"), *words]) == 0
    for path in folder.rglob("*.safetensors"):
        assert (tmp_path / "copy" / "inversions" / path.relative_to(folder)).read_bytes() == path.read_bytes()
    before = {path: path.read_bytes() for path in folder.rglob("*.safetensors")}
    assert main(["edit", str(folder), "--out", str(tmp_path / "out"), *words]) == 0  # they are there already
    assert before == {path: path.read_bytes() for path in folder.rglob("*.safetensors")}


def test_a_slow_arithmetic_is_warned_of_once_and_in_the_report(tmp_path, photos, monkeypatch, capsys, recwarn):
    monkeypatch.setattr("sdic.runner.run.slow_on_cpu", lambda precision: f"precision {precision} is slow")
    words = ["invert", str(photos), "--out", str(tmp_path / "out"), "--model", "tiny-e4e", "--precision", "bf16"]
    assert main([*words, "--device", "cpu", "--limit", "1"]) == 0
    assert capsys.readouterr().err.count("precision bf16 is slow") == 1
    assert json.loads((tmp_path / "out" / "report.json").read_text())["warnings"] == ["precision bf16 is slow"]
    assert not [warning for warning in recwarn if "precision" in str(warning.message)]
