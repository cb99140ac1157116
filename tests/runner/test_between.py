"""`sdic interpolate` and `sdic mix`: two photos, and what lies between them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sdic
from sdic.cli import main
from sdic.types import Inversion


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture
def between(model, photos, tmp_path):
    """`between("interpolate", ...)` -> exit code, for anna and bo."""

    def call(command: str, *words: str, inputs=("anna.png", "more/bo.jpg")) -> int:
        paths = [str(photos / name) for name in inputs]
        return main([command, *paths, "--out", str(tmp_path / "out"), "--model", "tiny", *words])

    return call


def test_the_way_from_one_photo_to_another(between, model, tiny, photos, tmp_path):
    out = tmp_path / "out"
    assert between("interpolate", "--steps", "5", "--look", "webp,page", "--save-inversions") == 0
    folder = out / "anna-bo"
    assert sorted(path.name for path in folder.glob("*.png")) == [f"t={t:.4f}.png" for t in (0, 0.25, 0.5, 0.75, 1)]
    assert np.array_equal(pixels(folder / "t=0.0000.png"), pixels(out / "inversion/anna.png"))
    assert np.array_equal(pixels(folder / "t=1.0000.png"), pixels(out / "inversion/bo.png"))
    middle = Inversion.load(folder / "t=0.5000.safetensors")
    pair = [sdic.PictureInverter(tiny, "").invert(photos / name) for name in ("anna.png", "more/bo.jpg")]
    assert np.allclose(middle.image, tiny.interpolate(*pair, 0.5).image, atol=1e-5)
    with Image.open(out / "look/anna-bo-interpolate.webp") as animation:
        assert animation.n_frames > 1  # the coder leaves out frames that hardly differ
    assert (out / "page.html").read_text().count("<figure data-series") == 5
    report = json.loads((out / "report.json").read_text())
    assert report["looks"] == ["look/anna-bo-interpolate.png", "look/anna-bo-interpolate.webp", "page.html"]
    assert model.photos == 2 + 2


def test_what_is_done_is_skipped_and_more_steps_add_to_it(between, model, tmp_path, capsys):
    assert between("interpolate", "--steps", "3") == 0
    assert model.photos == 2
    assert between("interpolate", "--steps", "3") == 0
    assert "3 pictures: 0 new, 3 already done" in capsys.readouterr().out
    assert model.photos == 2
    assert between("interpolate", "--steps", "5") == 0
    assert "5 pictures: 2 new, 3 already done" in capsys.readouterr().out
    assert between("interpolate", "--t", "0.3", "--rule", "paper") == 0
    assert "1 pictures: 1 new" in capsys.readouterr().out


def test_rows_of_the_second_photo(between, tiny, photos, tmp_path):
    assert between("mix", "--rows", "fine", "--rows", "0-1,4", "--look", "page") == 0
    folder = tmp_path / "out" / "anna-bo"
    assert sorted(path.name for path in folder.iterdir()) == ["rows=0-1,4.png", "rows=fine.png"]
    model = sdic.PictureInverter(tiny, "")
    pair = [model.invert(photos / name) for name in ("anna.png", "more/bo.jpg")]
    assert np.array_equal(pixels(folder / "rows=fine.png"), np.asarray(model.mix(*pair, "fine")))
    assert np.array_equal(pixels(folder / "rows=0-1,4.png"), np.asarray(model.mix(*pair, [0, 1, 4])))
    assert between("mix", "--rows", "fine", "--strength", "0") == 0
    inversion = pixels(tmp_path / "out/inversion/anna.png")
    assert np.array_equal(pixels(folder / "rows=fine,strength=0.png"), inversion)


def test_saved_inversions_are_not_inverted_again(between, model, photos, tmp_path):
    assert between("interpolate", "--steps", "2", "--save-inversions") == 0
    asked, saved = model.photos, tmp_path / "out" / "anna-bo"
    words = [str(saved / f"t={t}.0000.safetensors") for t in (0, 1)]
    assert main(["mix", *words, "--out", str(tmp_path / "new"), "--model", "tiny", "--rows", "fine"]) == 0
    assert model.photos == asked


@pytest.mark.parametrize(
    ("command", "words", "said"),
    [
        ("interpolate", ["--steps", "1"], "steps must be 2 to 10000, got 1"),
        ("interpolate", ["--t", "nan"], "t must be a number from 0 to 1, got nan"),
        ("interpolate", ["--look", "grid"], "--look grid does not go with"),
        ("mix", [], "--rows missing"),
        ("mix", ["--rows", "8-17"], "write such as 4,8-11 of the rows 0 to 9, or coarse, middle, fine"),
        ("mix", ["--rows", "1", "--strength", "nan"], "strength must be a number from 0 to 1, got nan"),
        ("mix", ["--rows", "1", "--look", "mp4"], "--look mp4 does not go with"),
        ("mix", ["--rows", "1", "--rule", "moved"], "rule must be one of carried, paper"),
    ],
)
def test_what_is_wrong_is_one_line(between, model, command, words, said, capsys):
    assert between(command, *words) == 2
    assert said in capsys.readouterr().err
    assert model.photos == 0


def test_two_photos_are_needed(between, photos, capsys):
    assert between("interpolate", inputs=("anna.png",)) == 2
    assert "two photos or saved inversions are needed, got 1" in capsys.readouterr().err
    assert between("interpolate", inputs=("anna.png", "more")) == 2
    assert "holds 2 photos" in capsys.readouterr().err
    (photos / "bad.png").write_bytes(b"no picture")
    assert between("interpolate", inputs=("anna.png", "bad.png")) == 2
    assert "bad.png" in capsys.readouterr().err


def test_the_pictures_in_python(tiny, photos, tmp_path):
    model = sdic.PictureInverter(tiny, "")
    first, second = (model.invert(photos / name) for name in ("anna.png", "more/bo.jpg"))
    one, several = model.interpolate(first, second, 0.5), model.interpolate(first, second, [0, 0.5, 1])
    assert np.array_equal(np.asarray(one), np.asarray(several[1]))
    assert np.array_equal(np.asarray(several[0]), np.asarray(model.picture(first)))
    (tmp_path / "list.yaml").write_text("edits:\n  wide: pc0=2\n  part: {edit: pc0=2, inside: {ellipse: [0, 0, 1, 1]}}")
    edits = model.edits(first, tmp_path / "list.yaml")
    assert list(edits) == ["wide", "part"]
    (tmp_path / "masks").mkdir()
    Image.new("L", (64, 64)).save(tmp_path / "masks" / "anna.png")
    (tmp_path / "own.yaml").write_text("edits: {wide: {edit: pc0=2, inside: {masks: masks}}}")
    own = model.edits(first, tmp_path / "own.yaml", "anna")["wide"]
    assert np.array_equal(np.asarray(own), np.asarray(model.picture(first)))
    assert np.array_equal(np.asarray(edits["wide"]), np.asarray(model.edit(first, "pc0", 2)))
