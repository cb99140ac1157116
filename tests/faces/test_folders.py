"""`sdic align` and `sdic paste` from photos to photos, by landmarks (which take no weights)."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdic import zoo
from sdic.cli import main
from sdic.faces.points import Face
from tests.faces.test_alignment import face_at, photo_of

FACES = {"one": [face_at(150, 130, 120, 12)], "two": [face_at(80, 100, 100), face_at(215, 120, 100, -8)]}


def line(name: str, face: Face) -> str:
    left, right, *mouth = face.points
    points = [left, right, (left + right) / 2, *mouth]
    return ",".join([name, *(f"{value:.4f}" for point in points for value in point)])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """one.jpg, sub/two.png, note.txt, a landmark file beside the folder, and none of a third photo."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    photo_of(300, 260, 1).save(folder / "one.jpg", quality=95)
    photo_of(300, 240, 2).save(folder / "sub" / "two.png")
    (folder / "note.txt").write_text("no photo")
    rows = [line("one.jpg", FACES["one"][0]), *(line("sub/two", face) for face in FACES["two"])]
    (tmp_path / "points.csv").write_text("\n".join(rows))
    return folder


def align(photos: Path, *words: str) -> int:
    points = str(photos.parent / "points.csv")
    out = str(photos.parent / "crops")
    return main(["align", str(photos), "--out", out, "--size", "64", "--landmarks", points, *words])


def record(photos: Path) -> dict[str, dict]:
    return json.loads((photos.parent / "crops" / "crops.json").read_text())["crops"]


def test_from_photos_to_crops_and_back(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert align(photos, "--face", "all") == 0
    assert sorted(record(photos)) == ["one-1.png", "sub/two-1.png", "sub/two-2.png"]
    crops = photos.parent / "crops"
    assert Image.open(crops / "sub" / "two-2.png").size == (64, 64)
    edited = photos.parent / "edited"
    for name in record(photos):
        picture = Image.open(crops / name)
        if name != "sub/two-1.png":
            picture.paste((255, 0, 0), (24, 24, 40, 40))
        (edited / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(edited / name)
    out = photos.parent / "out"
    assert main(["paste", str(edited), "--crops", str(crops / "crops.json"), "--out", str(out)]) == 0
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == ["one.jpg", "sub/two.png"]
    before, after = (np.asarray(Image.open(folder / "sub" / "two.png")).astype(int) for folder in (photos, out))
    assert not (before != after)[:, :150].any()  # the first face was not edited
    assert (after[115:125, 210:220] == [255, 0, 0]).mean() > 0.5


def test_what_is_done_is_skipped_and_what_changed_is_not(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sdic.faces import folder

    assert align(photos) == 0
    read: list[str] = []
    whole = folder.read_picture
    monkeypatch.setattr(folder, "read_picture", lambda path: (read.append(path.name), whole(path))[1])
    assert align(photos) == 0
    assert read == []
    photo_of(300, 260, 5).save(photos / "one.jpg", quality=95)
    assert align(photos) == 0
    assert read == ["one.jpg"]
    (photos.parent / "crops" / "sub" / "two.png").unlink()
    assert align(photos) == 0
    assert read == ["one.jpg", "two.png"]
    assert align(photos, "--align", "always") == 0
    assert len(read) == 4


def test_failures_are_listed_and_the_rest_is_finished(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo_of(50, 40).save(photos / "three.png")
    (photos / "wreck.jpg").write_bytes(b"no picture")
    assert align(photos) == 1
    said = capsys.readouterr()
    assert "three.png: " in said.err
    assert "has no landmarks of it" in said.err
    assert "wreck.jpg" in said.err
    assert "2 photos failed" in said.out
    assert sorted(record(photos)) == ["one.png", "sub/two.png"]


def test_photos_of_one_name_do_not_overwrite_each_other(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo_of(300, 260, 3).save(photos / "one.png")
    (photos.parent / "points.csv").open("a").write("\n" + line("one", FACES["one"][0]))
    assert align(photos) == 1
    assert "one.png is the crop of" in capsys.readouterr().err


def test_other_photos_and_records_are_refused(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert align(photos) == 0
    crops = photos.parent / "crops"
    words = ["--crops", str(crops / "crops.json"), "--out", str(photos.parent / "out")]
    photo_of(300, 260, 9).save(photos / "one.jpg")
    assert main(["paste", str(crops), *words]) == 1
    assert "another photo than the one that was aligned" in capsys.readouterr().err
    assert main(["paste", str(photos / "sub"), *words]) == 2
    assert "none of the 2 crops" in capsys.readouterr().err
    (crops / "crops.json").write_text('{"crops": {"../../x.png": {"photo": "a", "sha256": "b", "crop": null}}}')
    assert main(["paste", str(crops), *words]) == 2
    assert "leads out of its folder" in capsys.readouterr().err


def test_settings_that_make_no_sense(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert align(photos, "--face", "every") == 2
    assert align(photos, "--size", "5000") == 2
    assert align(photos, "--detector", "dlib") == 2
    assert main(["align", str(photos / "none"), "--out", "x", "--landmarks", "none.csv"]) == 2


def test_without_a_detector(photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(zoo, "search_folders", lambda: [photos])
    assert main(["align", str(photos / "one.jpg"), "--out", str(photos.parent / "crops")]) == 1
    assert "three ways on: `sdic download faces`" in capsys.readouterr().err


def test_a_zip_of_photos_is_a_folder_of_photos(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From a zip to crops and back, with the names of the photos in it; what is not read is said."""
    archive = photos.parent / "some.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("one.jpg", "sub/two.png", "note.txt"):
            file.write(photos / name, name)
        file.writestr("new.jxl", b"\0\0\0\x0cJXL \r\n\x87\n")
    assert align(archive, "--face", "all") == 0
    assert "new.jxl: JPEG XL" in capsys.readouterr().err
    assert sorted(record(photos)) == ["one-1.png", "sub/two-1.png", "sub/two-2.png"]
    crops = photos.parent / "crops"
    first = (crops / "one-1.png").stat().st_mtime_ns
    assert align(archive, "--face", "all") == 0
    assert (crops / "one-1.png").stat().st_mtime_ns == first
    out = photos.parent / "out"
    words = ["--crops", str(crops / "crops.json"), "--out", str(out)]
    assert main(["paste", str(crops), *words]) == 0
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == ["one.jpg", "sub/two.png"]
    assert np.array_equal(np.asarray(Image.open(out / "sub/two.png")), np.asarray(Image.open(photos / "sub/two.png")))
    with zipfile.ZipFile(archive, "w") as file:
        file.write(photos / "one.jpg", "one.jpg")
    assert main(["paste", str(crops), *words]) == 1  # the other is no longer in it
    assert "two.png in " in capsys.readouterr().err
    assert align(photos, "--face", "all") == 1  # crops of these names are there, of the zip's photos
    assert "is the crop of one.jpg in " in capsys.readouterr().err
