"""Runs of `sdic evaluate` on two portraits and an untrained stack: what is written, and what is not done twice."""

from __future__ import annotations

import contextlib
import io
import json
from types import SimpleNamespace

import pytest
from PIL import Image

from sdic.evaluation import work
from sdic.methods.e4e import E4EInverter
from sdic.methods.sdic import SDICInverter
from sdic.portraits.write import write_split

BOTH = ("--methods", "e4e,sdic")
FEW = (*BOTH, "--limit", "2", "--edit-limit", "1", "--change", "yaw=10,20", "--change", "age=20", "--sheet", "1")
MEASURES = {"psnr", "ssim", "l2", "perceptual", "id", "from_w", "nscd", "seconds", "images", "edits", "interval"}
OF_EDITS = {"l2", "perceptual", "id", "attribute_error", "moved", "details_kept", "region_l2", "strength"}
OF_EDITS |= {"out_of_reach", "details_images", "images", "interval"}
OTHER_WAYS = ("paper", "released", "edit_compensate")


def without_seconds(numbers):
    """At whatever depth: intervals and differences have them too."""
    if not isinstance(numbers, dict):
        return numbers
    return {name: without_seconds(value) for name, value in numbers.items() if name != "seconds"}


def counting(monkeypatch):
    """How often each method inverts."""
    calls = {"e4e": 0, "sdic": 0}
    for kind in (E4EInverter, SDICInverter):

        def invert(self, photo, real=kind._invert, name=kind.method):
            calls[name] += 1
            return real(self, photo)

        monkeypatch.setattr(kind, "_invert", invert)
    return calls


@pytest.fixture(scope="module")
def whole(call_evaluate, tmp_path_factory):
    """(folder, exit code, numbers, report, what was printed) of one run that nothing stopped."""
    out = tmp_path_factory.mktemp("whole")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code, numbers, report = call_evaluate(*FEW, out=out)
    return SimpleNamespace(out=out, code=code, numbers=numbers, report=report, printed=printed.getvalue())


def test_what_a_run_writes(whole):
    numbers, report = whole.numbers, whole.report
    assert whole.code == 0
    assert list(numbers) == ["e4e", "sdic"]
    for label, values in numbers.items():
        assert set(values) == MEASURES | ({"difference"} if label == "sdic" else set())
        assert values["images"] == 2
        assert values["seconds"] > 0
    assert set(numbers["e4e"]["edits"]) == {"age", "yaw"}
    assert set(numbers["sdic"]["edits"]) == {"age", "yaw", *OTHER_WAYS, "better_up_to"}
    ways = (numbers["sdic"]["edits"][way] for way in OTHER_WAYS)
    apart = numbers["sdic"]["difference"]["l2"]
    assert apart[0] == pytest.approx(numbers["sdic"]["l2"] - numbers["e4e"]["l2"])
    assert apart[1] <= apart[0] <= apart[2]
    assert report["own_codes"]["e4e"]["from_w"] == pytest.approx(64**0.5, rel=0.1)
    for edits in (numbers["e4e"]["edits"], numbers["sdic"]["edits"], *ways):
        assert set(edits["yaw"]) == {"10", "20"}
        assert set(edits["age"]) == {"20"}
        assert set(edits["yaw"]["10"]) - {"difference"} == OF_EDITS
        assert edits["yaw"]["10"]["images"] == 1
    assert set(numbers["sdic"]["edits"]["better_up_to"]["yaw"]) == {"l2", "perceptual", "region_l2", "largest"}
    assert report["results"] == numbers
    assert report["generator"] is None
    assert report["methods"]["sdic"]["model"] == "portraits"
    assert all(len(network["sha256"]) == 64 for network in report["metric_networks"].values())
    assert "sdic against e4e" in whole.printed
    assert "sdic (edit-compensate)" in whole.printed
    assert (whole.out / "tables.md").read_text().strip() in whole.printed
    with Image.open(whole.out / "sheet.png") as sheet:
        assert sheet.width > 7 * 128  # photo, truth, e4e, sdic, paper, released, edit-compensate
        assert sheet.height > 2 * 128  # age and yaw


def test_a_second_run_computes_nothing_and_says_the_same(call_evaluate, whole, monkeypatch):
    calls = counting(monkeypatch)
    monkeypatch.setattr("sdic.portraits.truth.render", lambda *args, **options: pytest.fail("drawn again"))
    _, second, _ = call_evaluate(*FEW, out=whole.out)
    assert second == whole.numbers
    assert calls == {"e4e": 0, "sdic": 0}


@pytest.mark.parametrize("stop", [1, 4])
def test_a_killed_run_goes_on_to_the_same_numbers(evaluate, whole, monkeypatch, stop):
    real, done = work.measure, []

    def killed(*arguments):
        if len(done) == stop:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(work, "measure", killed)  # of inversions
        patch.setattr("sdic.evaluation.editing.measure", killed)  # of edits
        code, _, report = evaluate(*FEW)
    assert code == 130
    assert not report
    _, resumed, _ = evaluate(*FEW)
    assert without_seconds(resumed) == without_seconds(whole.numbers)


def test_a_larger_run_adds_to_a_smaller_one(evaluate, whole, monkeypatch):
    evaluate("--limit", "1", "--edit-limit", "0", "--methods", "e4e")
    calls = counting(monkeypatch)
    _, grown, _ = evaluate("--limit", "2", "--edit-limit", "0", *BOTH)
    assert calls == {"e4e": 1 + 1, "sdic": 2 + 1}  # one each to warm up
    assert grown["e4e"]["edits"] == {}
    bare = {label: {**numbers, "edits": {}} for label, numbers in whole.numbers.items()}
    assert without_seconds(grown) == without_seconds(bare)


def test_other_networks_do_not_meet_in_a_results_file(evaluate, tmp_path):
    evaluate("--limit", "1", "--edit-limit", "0", "--methods", "e4e")
    evaluate("--limit", "1", "--edit-limit", "0", "--methods", "e4e,other=portraits")
    names = {path.name.rsplit("-", 2)[0] for path in (tmp_path / "out" / "results").iterdir()}
    assert names == {"e4e", "other", "own"}  # the last: how near the generator's own codes are to each other


def test_photos_are_inverted_and_give_the_same_numbers_as_the_portraits_in_them(evaluate, whole, tmp_path):
    write_split("test", tmp_path / "photos", 2, 64)
    code, numbers, report = evaluate(str(tmp_path / "photos"), *BOTH)
    assert code == 0
    drawn = {label: {**values, "edits": {}} for label, values in whole.numbers.items()}
    assert without_seconds(numbers) == without_seconds(drawn)
    assert report["pictures"]["count"] == 2
    assert report["sheet"] is None
    _, again, _ = evaluate(str(tmp_path / "photos"), *BOTH)
    assert again == numbers


def test_photos_that_cannot_be_read_are_told(evaluate, tmp_path, capsys):
    write_split("test", tmp_path / "photos", 1, 64)
    whole = next((tmp_path / "photos").glob("*.png")).read_bytes()
    (tmp_path / "photos" / "0.png").write_bytes(whole[: len(whole) // 2])
    code, numbers, report = evaluate(str(tmp_path / "photos"), "--methods", "e4e")
    assert code == 1
    assert numbers["e4e"]["images"] == 1
    assert len(report["pictures"]["problems"]) == 1
    assert "failed: 0.png" in capsys.readouterr().err


def test_the_generator_is_measured_beside_real_pictures(evaluate, monkeypatch, capsys):
    words = ("--limit", "1", "--edit-limit", "0", "--methods", "e4e", "--generator", "4")
    _, numbers, report = evaluate(*words)
    found = report["generator"]
    assert found["pictures"] == 4
    assert found["frechet"] > found["frechet_of_real"] > 0
    assert set(numbers) == {"e4e"}
    assert "Fréchet distance" in capsys.readouterr().out
    monkeypatch.setattr("sdic.portraits.truth.render", lambda *args, **options: pytest.fail("drawn again"))
    assert evaluate(*words)[2]["generator"] == found


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--domain", "portrats"), "did you mean 'portraits'"),
        (("--methods", "e4e,sdik"), "did you mean 'sdic'"),
        (("--limit", "0"), "limit must be at least 1"),
        (("--generator", "1"), "at least 2"),
        (("--change", "yaw=70"), "at most 60"),
        (("nowhere",), "nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(evaluate, tmp_path, capsys, words, message):
    code, numbers, _ = evaluate(*words)
    assert code == 2
    assert not numbers
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_examples_are_the_bundled_portraits(evaluate, monkeypatch, tmp_path):
    write_split("test", tmp_path / "pretrained" / "portraits" / "examples", 1, 64)
    monkeypatch.setenv("SDIC_PRETRAINED", str(tmp_path / "pretrained"))
    monkeypatch.chdir(tmp_path)
    _, numbers, _ = evaluate("examples", "--methods", "e4e")
    assert numbers["e4e"]["images"] == 1
    assert json.dumps(numbers)
