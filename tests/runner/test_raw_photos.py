"""Raw photos in `sdic invert` and `sdic edit`, by landmarks (which take no weights) and the untrained 64 px model."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runner_helpers import statuses, write_photo

import sdic
from sdic.domains import DOMAINS
from sdic.errors import ConfigError, ImageError
from sdic.faces import finding
from sdic.faces.alignment import FaceCrop
from sdic.faces.points import Face
from sdic.types import Inversion
from tests.faces.test_alignment import face_at, photo_of
from tests.faces.test_folders import line
from tests.faces.test_pasting import exif_of, inside

FACES = {"one": [face_at(150, 130, 90, 12)], "two": [face_at(80, 100, 70), face_at(215, 120, 80, -8)]}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """one.jpeg with an orientation, sub/two.png with two faces, and their landmarks beside the folder."""
    folder = tmp_path / "raw"
    (folder / "sub").mkdir(parents=True)
    upright = photo_of(300, 260, 1)
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "one.jpeg", quality=95, exif=exif_of(6))
    photo_of(300, 240, 2).save(folder / "sub" / "two.png")
    rows = [line("one", FACES["one"][0]), *(line("sub/two", face) for face in FACES["two"])]
    (tmp_path / "points.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture
def align(run, raw: Path):
    """`run` on the raw photos."""

    def call(command: str, *words: str, inputs: Path | None = None):
        points = str(raw.parent / "points.csv")
        return run(command, "--align", "always", "--landmarks", points, *words, inputs=inputs or raw)

    return call


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def crops_of(path: Path) -> list[FaceCrop | None]:
    return [FaceCrop.from_numbers(row) for row in Inversion.load(path).extras["crop"].tolist()]


def test_a_raw_photo_comes_back_edited_at_its_size(align, model, raw, tmp_path):
    code, report = align("edit", "--edit", "pc0=3", "--edit", "pc1=-1:1:2", "--save-inversions")
    assert code == 0
    out = tmp_path / "out"
    for label in ("pc0=3", "pc1=-1", "pc1=1"):
        assert sorted(p.relative_to(out / label).as_posix() for p in (out / label).rglob("*.*")) == [
            "one.jpeg",
            "sub/two.png",
        ]
        assert Image.open(out / "crops" / label / "sub" / "two.png").size == (64, 64)
    [crop] = crops_of(out / "inversions" / "sub" / "two.safetensors")
    assert crop is not None
    assert crop.photo_size == (300, 240)
    before, after = pixels(raw / "sub" / "two.png"), pixels(out / "pc0=3" / "sub" / "two.png")
    assert before.shape == after.shape
    assert not (before != after)[~inside(crop)].any()
    assert (before != after)[inside(crop, 0.2)].any(-1).mean() > 0.5
    edited = Image.open(out / "pc0=3" / "one.jpeg")
    assert (edited.format, edited.size, edited.getexif()[0x0112]) == ("JPEG", Image.open(raw / "one.jpeg").size, 6)
    assert edited.getexif()[0x010F] == "Maker"
    files = {entry["name"]: entry["outputs"] for entry in report["files"]}
    assert files["one.jpeg"][-3:] == ["pc0=3/one.jpeg", "pc1=-1/one.jpeg", "pc1=1/one.jpeg"]


def test_an_edit_of_nothing_changes_nothing(align, model, raw, tmp_path):
    assert align("edit", "--edit", "pc0=0", "--face", "all")[0] == 0
    out = tmp_path / "out" / "pc0=0"
    assert np.array_equal(pixels(raw / "sub" / "two.png"), pixels(out / "sub" / "two.png"))
    off = pixels(raw / "one.jpeg") - pixels(out / "one.jpeg")
    assert 10 * np.log10(255**2 / (off**2).mean()) > 40  # written as JPEG again


def test_what_is_pasted_is_the_change_from_the_inversion(align, model, raw, tmp_path):
    """Where the edit changes much, the photo shows the edited crop."""
    align("edit", "--edit", "pc0=9", "--save-inversions")
    out = tmp_path / "out"
    [crop] = crops_of(out / "inversions" / "one.safetensors")
    assert crop is not None
    edited, inversion = pixels(out / "crops/pc0=9/one.png"), pixels(out / "inversion/one.png")
    change = np.abs(edited - inversion).max(-1)
    much = change > 60
    much[:16] = much[-16:] = False
    much[:, :16] = much[:, -16:] = False
    assert much.any()
    places = np.argwhere(much)
    there = crop.to_photo(places[:, ::-1] + 0.5).astype(int)
    with Image.open(out / "pc0=9" / "one.jpeg") as photo:
        result = np.asarray(photo.transpose(Image.Transpose.ROTATE_270)).astype(int)
    shown = result[there[:, 1], there[:, 0]]
    assert np.abs(shown - edited[much]).mean() < 0.3 * np.abs(shown - inversion[much]).mean()


def test_several_faces_of_one_photo(align, model, raw, tmp_path):
    code, report = align("edit", "--edit", "pc0=2", "--face", "all", "--save-inversions", "--save-latents")
    assert code == 0
    out = tmp_path / "out"
    for folder, ending in (
        ("inversion", ".png"),
        ("inversions", ".safetensors"),
        ("latents", ".npy"),
        ("crops/pc0=2", ".png"),
    ):
        names = sorted(path.name for path in (out / folder / "sub").iterdir())
        assert names == [f"two-face1{ending}", f"two-face2{ending}"]
    crops = [crop for face in (1, 2) for crop in crops_of(out / "inversions" / "sub" / f"two-face{face}.safetensors")]
    assert None not in crops
    changed = (pixels(raw / "sub" / "two.png") != pixels(out / "pc0=2" / "sub" / "two.png")).any(-1)
    left, right = (inside(crop) for crop in crops)  # type: ignore[arg-type]
    assert (changed & left).any()
    assert (changed & right).any()
    assert not changed[~(left | right)].any()
    assert statuses(report) == {"one.jpeg": "done", "sub/two.png": "done"}
    with Image.open(out / "sheet.png") as sheet:
        rows = (sheet.height - 18) // (128 + 18)
    assert rows == 3  # one for each face
    assert align("edit", "--edit", "pc0=2", "--face", "2")[0] == 1  # the other photo has but one
    assert (out / "inversion" / "sub" / "two.png").is_file()


def test_a_second_run_looks_at_nothing(align, model, raw, tmp_path, monkeypatch):
    align("edit", "--edit", "pc0=2", "--save-inversions")
    first = model.photos
    monkeypatch.setattr("sdic.faces.finding.find_and_align", lambda *_, **__: pytest.fail("looked again"))
    code, report = align("edit", "--edit", "pc0=2", "--save-inversions")
    assert code == 0
    assert set(statuses(report).values()) == {"skipped"}
    code, report = align("edit", "--edit", "pc0=2", "--edit", "pc0=1", "--save-inversions")
    assert (code, model.photos) == (0, first)  # the saved inversions know where their crops lie
    assert (tmp_path / "out" / "pc0=1" / "one.jpeg").is_file()
    (tmp_path / "out" / "pc0=1" / "one.jpeg").unlink()
    code, _ = align("edit", "--edit", "pc0=2", "--edit", "pc0=1", "--save-inversions")
    assert (code, model.photos) == (0, first)
    assert (tmp_path / "out" / "pc0=1" / "one.jpeg").is_file()


def test_photos_of_a_zip(align, model, raw, tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(raw / "one.jpeg", "one.jpeg")
        archive.write(raw / "sub" / "two.png", "sub/two.png")
    assert align("edit", "--edit", "pc0=2", inputs=tmp_path / "some.zip")[0] == 0
    assert Image.open(tmp_path / "out" / "pc0=2" / "one.jpeg").format == "JPEG"
    assert Image.open(tmp_path / "out" / "pc0=2" / "sub" / "two.png").size == (300, 240)


def test_photos_without_landmarks_fail_with_the_ways_on(align, model, raw):
    write_photo(raw / "other.png", 3)
    code, report = align("invert")
    assert code == 1
    assert statuses(report) == {"one.jpeg": "done", "other.png": "failed", "sub/two.png": "done"}
    [reason] = [entry["reason"] for entry in report["files"] if entry["status"] == "failed"]
    assert "has no landmarks of it" in reason
    assert "--align never" in reason


class Known:
    def __init__(self, *faces: Face):
        self.faces = list(faces)

    def find(self, photo: Image.Image, every: bool = False) -> list[Face]:
        return self.faces


def detector(monkeypatch: pytest.MonkeyPatch, *faces: Face) -> None:
    """A detector is here that finds these faces; the model is one of faces."""
    monkeypatch.setitem(DOMAINS, "tiny", dataclasses.replace(DOMAINS["tiny"], faces=True))
    monkeypatch.setattr(finding, "has_finder", lambda: True)
    monkeypatch.setattr(finding, "open_finder", lambda *_: Known(*faces))


def test_auto_is_for_models_of_faces(run, model, photos, tmp_path, monkeypatch):
    code, report = run("invert", inputs=photos)  # abstract pictures: nobody looks for faces
    assert code == 0
    assert report["settings"]["align"] == "auto"
    before = (tmp_path / "out" / "inversion" / "anna.png").read_bytes()
    detector(monkeypatch, face_at(32, 32, 64))  # aligned already: the same
    code, report = run("invert", inputs=photos)
    assert code == 0
    assert set(statuses(report).values()) == {"skipped"}
    assert (tmp_path / "out" / "inversion" / "anna.png").read_bytes() == before
    detector(monkeypatch, face_at(80, 60, 60))
    write_photo(photos / "anna.png", 5, (160, 128))
    code, report = run("edit", "--edit", "pc0=1", inputs=photos / "anna.png")
    assert code == 0
    assert Image.open(tmp_path / "out" / "pc0=1" / "anna.png").size == (160, 128)
    assert "enlarged" not in str(report["warnings"])
    code, report = run("edit", "--edit", "pc0=1", "--align", "never", inputs=photos / "anna.png")
    assert Image.open(tmp_path / "out" / "pc0=1" / "anna.png").size == (64, 64)


def test_without_a_detector_it_is_said_once_and_square_photos_go_on(run, model, photos, monkeypatch, capsys):
    monkeypatch.setitem(DOMAINS, "tiny", dataclasses.replace(DOMAINS["tiny"], faces=True))
    monkeypatch.setattr(finding, "has_finder", lambda: False)
    write_photo(photos / "wide.png", 5, (100, 64))
    code, report = run("invert", inputs=photos)
    assert code == 1
    assert statuses(report)["wide.png"] == "failed"
    assert [status for name, status in statuses(report).items() if name != "wide.png"] == ["done"] * 3
    [reason] = [entry["reason"] for entry in report["files"] if entry["status"] == "failed"]
    assert "sdic download faces" in reason
    assert capsys.readouterr().err.count("warning: no face detector is here") == 1
    assert "no face detector" in report["warnings"][0]


def test_settings_that_make_no_sense(run, model, tmp_path, capsys):
    assert run("invert", "--face", "big")[0] == 2
    assert "largest, all, or a number" in capsys.readouterr().err
    assert run("invert", "align=allways")[0] == 2
    assert "did you mean 'always'" in capsys.readouterr().err
    assert run("invert", "--landmarks", str(tmp_path / "none.csv"), "--align", "always")[0] == 2
    assert "none.csv" in capsys.readouterr().err


def test_pictures_in_python(raw, tmp_path, tiny):
    model = sdic.PictureInverter(tiny)
    photo, points = raw / "sub" / "two.png", str(tmp_path / "points.csv")
    both = model.invert(photo, align="always", face="all", landmarks=points)
    assert both.extras["crop"].shape == (2, 11)
    edited = model.edit(both, "pc0", 2)
    result = model.paste(photo, both, edited)
    assert result.size == (300, 240)
    crops = [FaceCrop.from_numbers(row) for row in both.extras["crop"].tolist()]
    changed = (np.asarray(result).astype(int) != pixels(photo)).any(-1)
    assert changed.any()
    assert not changed[~(inside(crops[0]) | inside(crops[1]))].any()  # type: ignore[arg-type]
    assert np.array_equal(np.asarray(model.paste(photo, both, model.edit(both, "pc0", 0))), pixels(photo))
    both.save(tmp_path / "both.safetensors")
    again = Inversion.load(tmp_path / "both.safetensors")
    assert np.array_equal(np.asarray(model.paste(photo, again, edited)), np.asarray(result))
    with pytest.raises(ImageError, match="not cropped"):
        model.paste(photo, model.invert(photo_of(64, 64)), edited[0])
    with pytest.raises(ConfigError):
        model.invert(photo, align="often")


def test_records_of_other_photos_and_damaged_ones_are_not_believed(align, model, raw, tmp_path):
    align("edit", "--edit", "pc0=2")
    record = tmp_path / "out" / ".sdic" / "records" / "one.json"
    content = json.loads(record.read_text())
    content["faces"]["crops"] = ["{}"]
    record.write_text(json.dumps(content))
    code, report = align("edit", "--edit", "pc0=2")
    assert code == 0
    assert statuses(report)["one.jpeg"] == "skipped"  # looked at again, the same crop
    content["faces"] = {"asked": "other", "crops": [], "ending": ""}
    record.write_text(json.dumps(content))
    assert statuses(align("edit", "--edit", "pc0=2")[1])["one.jpeg"] == "skipped"
