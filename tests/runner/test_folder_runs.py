"""What `sdic invert` and `sdic edit` write, skip and redo."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runner_helpers import content, statuses, write_photo

import sdic
from sdic.cli import main
from sdic.editing.directions import save_direction
from sdic.portraits.directions import write_cards

NAMES = ["anna.png", "more/bo.png", "more/jürgen 東京.png"]


def test_names_and_folders_are_kept(run, model, tmp_path):
    code, report = run("edit", "--edit", "pc0=2", "--edit", "pc1=-1:1:2,pc0=1", "--save-inversions")
    assert code == 0
    out = content(tmp_path / "out")
    for folder in ("inversion", "pc0=2", "pc1=-1,pc0=1", "pc1=1,pc0=1"):
        assert [name for name in out if name.startswith(folder + "/")] == [f"{folder}/{name}" for name in NAMES]
    assert sum(name.endswith(".safetensors") for name in out) == 3
    assert "sheet.png" in out
    assert set(statuses(report).values()) == {"done"}
    assert report["totals"]["done"] == 3
    assert report["settings"]["edits"] == ["pc0=2", "pc1=-1:1:2,pc0=1"]
    assert report["model"] == {"name": "tiny", "weights": "seed 0", "domain": "tiny"}


def test_the_pictures_are_those_of_the_library(run, model, photos, tmp_path):
    run("edit", "--edit", "pc0=2")
    pictures = sdic.PictureInverter(model.inverter)
    inversion = pictures.invert(photos / "more" / "bo.jpg")
    for made, expected in (
        ("inversion", pictures.picture(inversion)),
        ("pc0=2", pictures.edit(inversion, "pc0", 2)),
    ):
        with Image.open(tmp_path / "out" / made / "more" / "bo.png") as picture:
            assert picture.mode == "RGB"
            assert np.array_equal(np.asarray(picture), np.asarray(expected))


def test_strength_zero_is_the_inversion_byte_for_byte_by_the_paper_rule_only(run, model, tmp_path):
    run("edit", "--edit", "pc0=0")
    out = tmp_path / "out"
    for name in NAMES:
        assert (out / "pc0=0" / name).read_bytes() == (out / "inversion" / name).read_bytes()
    run("edit", "--edit", "pc0=0", "--rule", "released")
    assert all((out / "pc0=0" / name).read_bytes() != (out / "inversion" / name).read_bytes() for name in NAMES)


def test_a_second_run_skips_everything_without_the_model(run, model, tmp_path, capsys):
    run("edit", "--edit", "pc0=2")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")}
    assert (model.loads, model.photos, model.edits) == (1, 3, 3)
    code, report = run("edit", "--edit", "pc0=2")
    assert code == 0
    assert (model.loads, model.photos, model.edits) == (1, 3, 3)
    assert "3 photos: 0 new, 3 already done" in capsys.readouterr().out
    assert set(statuses(report).values()) == {"skipped"}
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.png")} == before


def test_only_what_a_changed_setting_touches_is_redone(run, model, photos, tmp_path):
    run("edit", "--edit", "pc0=2", "--save-inversions")
    run("edit", "--edit", "pc0=2", "--edit", "pc0=3")
    assert (model.photos, model.edits) == (3, 6)  # the saved inversions were used, and only pc0=3 was drawn
    run("edit", "--edit", "pc0=2", "--rule", "released")
    assert (model.photos, model.edits) == (3, 9)
    run("edit", "--edit", "pc0=3", "--precision", "bf16")
    assert (model.photos, model.edits) == (6, 12)
    write_photo(photos / "anna.png", seed=9)
    _, report = run("edit", "--edit", "pc0=3", "--precision", "bf16")
    assert (model.photos, model.edits) == (7, 13)
    assert statuses(report) == {"anna.png": "done", "more/bo.jpg": "skipped", "more/jürgen 東京.png": "skipped"}


def test_deleted_and_changed_outputs_are_made_again(run, model, tmp_path):
    run("invert")
    whole = content(tmp_path / "out")
    (tmp_path / "out" / "inversion" / "anna.png").unlink()
    other = tmp_path / "out" / "inversion" / "more" / "bo.png"
    other.write_bytes(b"x" * other.stat().st_size)  # same size, other bytes
    _, report = run("invert")
    assert sorted(statuses(report).values()) == ["done", "done", "skipped"]
    assert model.photos == 5
    assert content(tmp_path / "out") == whole


def test_a_copied_output_folder_is_still_done(run, model, tmp_path):
    run("invert")
    shutil.copytree(tmp_path / "out", tmp_path / "copy", copy_function=shutil.copyfile)
    assert main(["invert", str(tmp_path / "photos"), "--out", str(tmp_path / "copy"), "--model", "tiny"]) == 0
    assert model.photos == 3


def test_a_damaged_record_costs_one_photo_and_nothing_else(run, model, tmp_path):
    run("invert")
    (tmp_path / "out" / ".sdic" / "records" / "anna.json").write_text("{half")
    code, _ = run("invert")
    assert (code, model.photos) == (0, 4)


def test_saved_inversions_are_edited_without_the_encoder(run, model, tmp_path):
    run("invert", "--save-inversions")
    assert model.photos == 3
    saved = tmp_path / "out" / "inversions"
    words = ["--out", str(tmp_path / "edited"), "--model", "tiny", "--edit", "pc0=2"]
    assert main(["edit", str(saved), *words]) == 0
    assert model.photos == 3
    run("edit", "--edit", "pc0=2")
    assert model.photos == 3
    first, second = content(tmp_path / "out"), content(tmp_path / "edited")
    for folder in ("inversion", "pc0=2"):
        for name in NAMES:
            assert first[f"{folder}/{name}"] == second[f"{folder}/{name}"]


def test_an_inversion_of_another_generator_is_refused(run, model, photos, tmp_path, capsys):
    from dataclasses import replace

    inversion = model.inverter.invert(sdic.PictureInverter(model.inverter).invert(photos / "anna.png").photo)
    replace(inversion, generator="0" * 64).save(photos / "other.safetensors")
    code, report = run("edit", "--edit", "pc0=2")
    assert code == 1
    assert statuses(report)["other.safetensors"] == "failed"
    assert "this inversion was made with generator 000000000000" in capsys.readouterr().err


def test_shards_share_the_list_and_a_later_run_reports_the_whole(run, model, tmp_path):
    names = []
    for shard in ("0/2", "1/2"):
        code, report = run("invert", "--shard", shard, report=f"report-{shard.replace('/', '-of-')}.json")
        assert code == 0
        names += list(statuses(report))
    assert sorted(names) == ["anna.png", "more/bo.jpg", "more/jürgen 東京.png"]
    assert model.photos == 3
    _, report = run("invert")
    assert model.photos == 3
    assert set(statuses(report).values()) == {"skipped"}
    assert len(report["files"]) == 3


def test_limit_takes_the_first_photos(run, model, photos):
    (photos / "a note.txt").write_text("not a photo")
    _, report = run("invert", "--limit", "2")
    assert statuses(report) == {"a note.txt": "ignored", "anna.png": "done", "more/bo.jpg": "done"}


def test_colliding_names_get_outputs_of_their_own(run, model, photos, tmp_path):
    write_photo(photos / "anna.jpg", 5)
    write_photo(photos / "Anna.webp", 6)
    code, report = run("invert")
    assert code == 0
    made = sorted(path.name for path in (tmp_path / "out" / "inversion").glob("*.png"))
    assert made == ["Anna.webp.png", "anna.jpg.png", "anna.png.png"]
    warned = {line["name"]: line["warnings"] for line in report["files"]}
    assert any("anna.jpg.png" in warning for warning in warned["anna.jpg"])
    assert not warned["more/bo.jpg"]


def test_the_contact_sheet_has_a_row_per_photo_and_pages(run, model, tmp_path):
    run("edit", "--edit", "pc0=2")
    with Image.open(tmp_path / "out" / "sheet.png") as sheet:
        width, height = sheet.size
    assert width > 4 * 128  # photo, first reconstruction, inversion, edit
    assert 3 * 128 < height < 4 * 150
    run("edit", "--edit", "pc0=2", "sheet_rows=2")
    assert (tmp_path / "out" / "sheet-2.png").is_file()
    run("edit", "--edit", "pc0=2")
    assert not (tmp_path / "out" / "sheet-2.png").exists()
    _, report = run("edit", "--edit", "pc0=2", "sheet_rows=0")
    assert report["sheets"] == []


def test_settings_come_from_a_file_words_and_options(run, model, tmp_path, capsys):
    config = tmp_path / "run.yaml"
    config.write_text("edits: [pc0=1]\nbatch_size: 2\nrule: released\n")
    code, report = run("edit", "--config", str(config), "batch_size=3", "--rule", "paper")
    assert code == 0
    settings = report["settings"]
    assert (settings["edits"], settings["batch_size"], settings["rule"]) == (["pc0=1"], 3, "paper")
    assert run("invert", "bach_size=3")[0] == 2
    assert "did you mean 'batch_size'" in capsys.readouterr().err
    config.write_text("modle: tiny\n")
    assert run("invert", "--config", str(config))[0] == 2
    assert "did you mean 'model'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--edit", "pc0"], None),  # the direction's usual strength
        (["--edit", "pc0=+1"], None),
        (["--edit", "pc0=a"], "not a strength"),
        (["--edit", "pc0=1:2"], "not a strength"),
        (["--edit", "pc0=1:2:1"], "2 to"),
        (["--edit", "pc0=nan"], "not a strength"),
        (["--edit", "=1"], "name=strength"),
        (["--edit", "pc0=1,pc0=2"], "twice"),
        (["--edit", "smil=1"], "unknown direction"),
        (["--edit", "nothere.pt=1"], "no such file"),
        (["--edit", "pc99=1"], "64"),
        ([], "no edit"),
        (["--edit", "pc0=1", "--shard", "2/2"], "count from 0"),
        (["--edit", "pc0=1", "--shard", "x"], "i/n"),
        (["--edit", "pc0=1", "--batch-size", "-1"], "at least 0"),
        (["--edit", "pc0=1", "--device", "gpu"], "one of auto"),
    ],
)
def test_usage_errors_are_one_line_and_code_2(run, model, capsys, words, said):
    code, _ = run("edit", "--limit", "1", *words)
    error = capsys.readouterr().err
    if said is None:
        assert code == 0
    else:
        assert code == 2
        assert error.startswith("error: ")
        assert said in error
        assert len(error.splitlines()) <= 2
        assert "Traceback" not in error


def test_nothing_to_do_is_an_error(tmp_path, model, capsys):
    (tmp_path / "empty").mkdir()
    words = ["--out", str(tmp_path / "out"), "--model", "tiny"]
    assert main(["invert", str(tmp_path / "empty"), *words]) == 2
    assert main(["invert", str(tmp_path / "nowhere"), *words]) == 2
    assert main(["invert", str(tmp_path), "--out", str(tmp_path), "--model", "tiny"]) == 2
    (tmp_path / "one").mkdir()
    write_photo(tmp_path / "one" / "x.png")
    assert main(["invert", str(tmp_path / "one"), "--out", str(tmp_path / "out"), "--model", "sdic-cars"]) == 2
    assert main(["edit", str(tmp_path / "one"), *words, "--edit", "age=3"]) == 2
    assert capsys.readouterr().err.count("error: ") == 5
    assert not (tmp_path / "out").exists()


def test_several_folders_keep_their_own_names(model, tmp_path):
    for seed, folder in enumerate(("one", "two")):
        write_photo(tmp_path / folder / "x.png", seed)
    words = ["--out", str(tmp_path / "out"), "--model", "tiny"]
    assert main(["invert", str(tmp_path / "one"), str(tmp_path / "two"), *words]) == 0
    assert {"inversion/one/x.png", "inversion/two/x.png"} <= set(content(tmp_path / "out"))


def test_links_in_circles_and_our_own_output_are_not_followed(run, model, photos, tmp_path):
    os.symlink(photos, photos / "more" / "again")
    code = main(["invert", str(photos), "--out", str(photos / "out"), "--model", "tiny"])
    assert code == 0
    assert main(["invert", str(photos), "--out", str(photos / "out"), "--model", "tiny"]) == 0
    assert model.photos == 3
    assert len(list(Path(photos / "out" / "inversion").rglob("*.png"))) == 3


def test_two_ranks_share_the_work_and_rank_0_reports_it(photos, model, tmp_path, monkeypatch):
    # Two processes in truth; here one after the other, told apart by the environment as torchrun does.
    words = ["invert", str(photos), "--out", str(tmp_path / "out"), "--model", "tiny"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert main(words) == 0
    assert not (tmp_path / "out" / "report.json").exists()
    assert model.photos == 1
    monkeypatch.setenv("RANK", "0")
    assert main(words) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert statuses(report) == dict.fromkeys(["anna.png", "more/bo.jpg", "more/jürgen 東京.png"], "done")
    assert not (tmp_path / "out" / ".sdic" / "ranks").exists()


def test_a_rank_that_never_reports_leaves_its_photos_unfinished(run, model, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    code, report = run("invert", "wait_seconds=0.2")
    assert code == 1
    assert statuses(report) == {"anna.png": "done", "more/bo.jpg": "not finished", "more/jürgen 東京.png": "done"}
    assert "1 not finished" in capsys.readouterr().out


def test_a_weight_file_is_loaded_once_and_then_only_recognised(photos, tiny, tmp_path, monkeypatch, capsys):
    from sdic.checkpoints import write_native
    from sdic.loading import load
    from sdic.tiny import tiny_bundle

    file = tmp_path / "mine.safetensors"
    networks = tiny_bundle(0).networks
    write_native(file, {role: networks[role] for role in ("generator", "encoder")})
    loads = []
    monkeypatch.setattr("sdic.runner.model.load", lambda *words, **options: loads.append(1) or load(*words, **options))
    words = ["edit", str(photos), "--out", str(tmp_path / "out"), "--model", str(file), "--edit", "pc0=1"]
    assert main(words) == 0
    assert main(words) == 0
    assert len(loads) == 1
    file.write_bytes(b"no weights")
    assert main(words) == 2  # wrong for every photo: one error, not one per photo
    error = capsys.readouterr().err
    assert "mine.safetensors" in error
    assert "failed" not in error


def test_the_word_examples_means_the_bundled_pictures(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sdic.zoo.REPOSITORY", tmp_path / "clone")
    words = ["invert", "examples", "--out", "out", "--model", "tiny"]
    assert main(words) == 2
    assert "examples" in capsys.readouterr().err
    write_photo(tmp_path / "clone" / "pretrained" / "portraits" / "examples" / "face.png")
    assert main(words) == 0
    assert (tmp_path / "out" / "inversion" / "face.png").is_file()
    assert f"the bundled portraits in {tmp_path / 'clone'}" in capsys.readouterr().err
    mine = write_photo(tmp_path / "examples" / "mine.png").parent  # what the user calls so goes first
    assert main([*words[:3], "mine", *words[4:]]) == 0
    assert [path.name for path in (tmp_path / "mine" / "inversion").iterdir()] == ["mine.png"]
    assert str(mine) not in capsys.readouterr().err


def test_the_examples_have_a_model_and_directions_of_their_own(portraits, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_photo(portraits / "examples" / "face.png")
    direction = sdic.Direction(torch.randn(64), name="age", unit="years", limits=(-40.0, 40.0))
    save_direction(tmp_path / "editings" / "portraits" / "age.safetensors", direction)
    card = {"name": "age", "domain": "portraits", "file": "portraits/age.safetensors", "default": 20}
    write_cards(tmp_path / "editings" / "manifest.yaml", "portraits", [card])
    monkeypatch.setenv("SDIC_EDITINGS", str(tmp_path / "editings"))
    assert main(["edit", "examples", "--out", "out", "--edit", "age=+20", "--edit", "age=-40:40:3"]) == 0
    assert "model portraits" in capsys.readouterr().err
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert {"inversion", "age=20", "age=-40", "age=0", "age=40"} <= folders
    assert json.loads((tmp_path / "out" / "report.json").read_text())["model"]["domain"] == "portraits"
    assert main(["edit", "face.png", "--out", "out", "--edit", "age=20"]) == 2
    assert "--model NAME missing" in capsys.readouterr().err


def test_named_directions_of_the_domain(run, model, tmp_path, monkeypatch, capsys):
    editings = tmp_path / "editings"
    editings.mkdir()
    np.save(editings / "brighter.npy", np.ones((1, 64), dtype=np.float32))
    np.save(editings / "faces.npy", np.ones((1, 512), dtype=np.float32))
    (editings / "manifest.yaml").write_text(
        "directions:\n"
        "  - {name: brighter, domain: tiny, file: brighter.npy, default: 0.5, limits: [-1, 1]}\n"
        "  - {name: foreign, domain: tiny, file: faces.npy}\n"
        "  - {name: absent, domain: tiny, file: absent.npy, source: a place, licence: some}\n"
    )
    monkeypatch.setenv("SDIC_EDITINGS", str(editings))
    code, report = run("edit", "--edit", "brighter", "--edit", "brighter=4")
    assert code == 0
    assert (tmp_path / "out" / "brighter=0.5" / "anna.png").is_file()
    assert report["warnings"] == ["brighter=4 is outside its useful range -1 to 1"]
    assert run("edit", "--edit", "foreign=1")[0] == 2
    assert "belongs to another generator" in capsys.readouterr().err
    assert run("edit", "--edit", "absent=1")[0] == 2
    assert "a place" in capsys.readouterr().err
    np.save(editings / "brighter.npy", -np.ones((1, 64), dtype=np.float32))
    before = model.edits
    assert run("edit", "--edit", "brighter")[1]["totals"]["done"] == 3  # another direction under the same name
    assert model.edits == before + 3
