"""Portraits and truths, results files, summaries, tables, Fréchet distance: each beside a case that is known."""

from __future__ import annotations

import json

import pytest
import torch

from sdic import zoo
from sdic.domains import DOMAINS, domain
from sdic.errors import ConfigError, UnknownNameError
from sdic.evaluation.editing import parse_changes
from sdic.evaluation.fid import frechet_distance, moments_of
from sdic.evaluation.methods import resolve
from sdic.evaluation.results import ResultsFile
from sdic.evaluation.summary import better_up_to, gain, mean, over_changes
from sdic.evaluation.tables import better_sentence, inversion_table, table
from sdic.portraits import PortraitParams, field_spec, split_params
from sdic.portraits.truth import Portraits, draw, move
from sdic.types import Geometry
from sdic.utils.images import in_levels

CPU = torch.device("cpu")
PORTRAITS = DOMAINS["portraits"]
SQUARE = Geometry(32, (32, 32))


# Domains and methods -------------------------------------------------------------------------------------------------


def test_unknown_names_suggest_the_closest(domain_files):
    with pytest.raises(UnknownNameError, match="did you mean 'portraits'"):
        domain("portrait")
    with pytest.raises(UnknownNameError, match="did you mean 'e4e'"):
        resolve(["e4"], PORTRAITS)
    with pytest.raises(UnknownNameError, match="did you mean 'yaw'"):
        parse_changes(["yav=5"], Portraits.attributes)


def test_methods_are_the_domains_models(domain_files):
    assert resolve(["e4e", "sdic"], PORTRAITS) == {"e4e": "portraits-e4e", "sdic": "portraits"}
    assert resolve(["portraits", "a=sdic"], PORTRAITS) == {"portraits": "portraits", "a": "portraits"}


def test_of_several_models_a_method_means_that_of_the_domains_own_name(domain_files, monkeypatch):
    other = zoo.ModelCard("portraits-difference", "portraits", "sdic", "untrained", seed=0)
    monkeypatch.setitem(zoo.MODELS, "portraits-difference", other)
    assert resolve(["sdic", "portraits-difference"], PORTRAITS) == {
        "sdic": "portraits",
        "portraits-difference": "portraits-difference",
    }
    monkeypatch.setitem(zoo.MODELS, "portraits-e4e-2", zoo.ModelCard("portraits-e4e-2", "portraits", "e4e", "", seed=0))
    with pytest.raises(ConfigError, match="several models of 'e4e': name one of portraits-e4e, portraits-e4e-2"):
        resolve(["e4e"], PORTRAITS)


def test_methods_may_be_files_with_labels(domain_files, tmp_path):
    file = tmp_path / "mine.safetensors"
    file.touch()
    assert resolve([str(file), f"first={file}"], PORTRAITS) == {"mine": str(file), "first": str(file)}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["e4e", "e4e"], "two methods"),
        (["a b=e4e"], "label"),
        (["tiny"], "domain 'tiny'"),
        (["portraits-attributes"], "losses and metrics"),
        ([], "no methods"),
    ],
)
def test_methods_that_cannot_be(domain_files, words, message):
    with pytest.raises(ConfigError, match=message):
        resolve(words, PORTRAITS)


@pytest.mark.parametrize("word", ["yaw", "yaw=", "yaw=a", "yaw=-5", "yaw=0", "yaw=61", "yaw=inf", "age=40"])
def test_changes_that_cannot_be(word):
    with pytest.raises(ConfigError):
        parse_changes([word], Portraits.attributes)


def test_changes_are_put_in_order():
    known = Portraits.attributes
    assert parse_changes(["yaw=20,5", "smile=0.25"], known) == {"yaw": (5.0, 20.0), "smile": (0.25,)}
    assert parse_changes([], known) == {"age": (20.0,), "yaw": (5.0, 10.0, 20.0, 30.0), "smile": (0.5,)}


# Portraits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["age", "yaw", "smile"])
def test_a_move_stays_within_the_range(name):
    spec = field_spec(name)
    values = torch.linspace(spec.low, spec.high, 41)
    params = PortraitParams.defaults(41, **{name: values})
    largest = (spec.high - spec.low) / 2
    for change in (0.1 * largest, largest):
        moved, signs = move(params, name, change)
        assert torch.allclose(getattr(moved, name), values + change * torch.tensor(signs), atol=1e-4)
    assert signs[0] == 1
    assert signs[-1] == -1


def test_a_truth_differs_in_its_attribute_alone():
    pictures = Portraits(3, SQUARE, {"age": (20.0,), "yaw": (5.0, 30.0)}, CPU)
    found = list(pictures.read(lambda key: True, lambda key: key == pictures.keys[1]))
    assert [picture.key for picture in found] == pictures.keys
    assert [bool(picture.truths) for picture in found] == [False, True, False]
    params, truth = pictures.params[1], found[1].truths["yaw"]
    assert torch.equal(found[1].photo, draw(params, 32, CPU))
    for place, change in enumerate((5.0, 30.0)):
        moved = params.replace(yaw=params.yaw + truth.sign * change)
        assert truth.values[place] == pytest.approx(float(moved.yaw))
        assert torch.equal(truth.pictures[place], draw(moved, 32, CPU)[0])
        assert torch.equal(truth.bare[place], draw(moved.without_details(), 32, CPU)[0])


def test_portraits_do_not_depend_on_how_many_are_drawn():
    few, many = (Portraits(count, SQUARE, {}, CPU) for count in (2, 19))
    for a, b in zip(few.read(lambda key: True, bool), many.read(lambda key: True, bool), strict=False):
        assert a.key == b.key
        assert torch.equal(a.photo, b.photo)


def test_the_sheet_shows_different_details():
    pictures = Portraits(12, SQUARE, {}, CPU)
    shown = pictures.showcase(12, 4)
    assert len(set(shown)) == 4
    assert split_params("test", 12)[[pictures.keys.index(key) for key in shown]].has_details().all()
    assert pictures.showcase(2, 4) == pictures.showcase(2, 2)


def test_levels_are_those_of_a_file():
    picture = torch.rand(1, 3, 8, 8) * 2.2 - 1.1
    found = in_levels(picture)
    assert (found - picture.clamp(-1, 1)).abs().max() <= 1 / 255 + 1e-6
    assert torch.equal(in_levels(found), found)


# Results files -------------------------------------------------------------------------------------------------------


def test_a_results_file_goes_on_behind_a_torn_line(tmp_path):
    results = ResultsFile(tmp_path, "e4e", {"weights": "a"})
    results.add("one", {"l2": 0.1})
    with open(results.path, "a") as handle:
        handle.write('{"picture": "two", "l2"')
    again = ResultsFile(tmp_path, "e4e", {"weights": "a"})
    assert "one" in again
    assert "two" not in again
    again.add("three", {"l2": None})
    last = ResultsFile(tmp_path, "e4e", {"weights": "a"})
    assert last.select(["three", "two", "one"]) == [{"l2": None}, {"l2": 0.1}]
    assert json.loads(last.path.read_text().splitlines()[0])["settings"]["weights"] == "a"


def test_other_settings_have_another_results_file(tmp_path):
    ResultsFile(tmp_path, "e4e", {"weights": "a"}).add("one", {"l2": 0.1})
    assert "one" not in ResultsFile(tmp_path, "e4e", {"weights": "b"})


# Summaries and tables ------------------------------------------------------------------------------------------------


def inverted(**values):
    return {"psnr": 20, "ssim": 0.5, "l2": 0.04, "perceptual": 0.2, "id": 0.6, "seconds": 0.1, "images": 3, **values}


def test_gains_by_hand():
    found = gain(inverted(), inverted(psnr=23.5, ssim=0.75, l2=0.01, perceptual=0.1, id=0.9, seconds=0.2))
    assert found == pytest.approx(
        {"psnr": 3.5, "ssim": 0.25, "l2": 0.25, "perceptual": 0.5, "id": 0.75, "seconds": 2.0}
    )
    assert gain(inverted(id=1), inverted())["id"] is None
    assert gain(inverted(psnr=None), inverted())["psnr"] is None


def test_the_table_ends_with_the_gain():
    results = {"e4e": inverted(), "sdic": inverted(psnr=23.5, l2=0.01, id=0.9)}
    text = inversion_table(results, {"sdic": gain(results["e4e"], results["sdic"])})
    last = text.splitlines()[-1]
    for word in ("sdic against e4e", "+3.50", "x 0.25", "+75% of the rest"):
        assert word in last
    assert "PSNR ↑" in text
    assert len({len(line) for line in text.splitlines()}) == 1


def test_a_table_is_markdown():
    assert table(["a", "b"], [["x", "10"]]) == "| a |  b |\n| - | -: |\n| x | 10 |"


def test_means_leave_out_what_is_not_known():
    assert mean([1, None, 3]) == 2
    assert mean([None]) is None
    assert mean([float("inf"), 1]) is None


def test_means_over_changes_count_moves_as_shares():
    numbers = dict.fromkeys(
        ("l2", "perceptual", "id", "attribute_error", "details_kept", "region_l2", "out_of_reach"), 1
    )
    found = over_changes({"5": {**numbers, "moved": 4, "strength": 5}, "20": {**numbers, "moved": 12, "strength": 30}})
    assert found["moved"] == pytest.approx(0.7)
    assert found["strength"] == pytest.approx(1.25)
    assert found["l2"] == 1


def test_up_to_which_change_a_method_is_better():
    theirs = {change: {"l2": 1.0, "perceptual": 1.0} for change in ("5", "10", "20", "30")}

    def ours(*values):
        return {change: {"l2": value, "perceptual": 0.5} for change, value in zip(theirs, values, strict=True)}

    def found(*values):
        return better_up_to(theirs, ours(*values))

    assert found(0.5, 0.9, 1.1, 1.2) == {"l2": 10, "perceptual": None, "largest": 30}
    assert found(0.5, 1.1, 0.9, 0.9)["l2"] == 5  # it stops at the first change where it is not better
    assert found(1, 1, 1, 1)["l2"] == 0
    text = better_sentence("yaw", "degrees", "sdic", "e4e", found(1, 1, 1, 1))
    assert "l2 at no change" in text
    assert "perceptual up to 30 degrees and beyond" in text


# Fréchet distance ----------------------------------------------------------------------------------------------------


def test_two_samples_of_one_gaussian_are_close():
    draw = torch.Generator().manual_seed(0)
    samples = [torch.randn(20_000, 4, generator=draw) for _ in range(2)]
    a, b = (moments_of(sample.split(1000), lambda x: x) for sample in samples)
    assert frechet_distance(a, b) < 2e-3
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_shifted_and_widened_gaussians_have_the_closed_form():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 3, generator=draw)
    shift = torch.tensor([3.0, 0.0, -4.0])
    a, b = moments_of([x], lambda v: v), moments_of([2 * x + shift], lambda v: v)
    # |m|^2 + tr(S + 4 S - 2 * 2 S) = |m|^2 + tr S, with the sample's own mean and covariance
    expected = float((a[0] + shift).square().sum() + a[1].trace())
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
