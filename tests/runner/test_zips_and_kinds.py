"""A zip of photos is a folder of photos; what looks like a picture or video and is not read counts as not done."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from runner_helpers import content, statuses, write_photo

from sdic.cli import main
from sdic.utils.decoding import byte_limit


def pack(folder: Path, path: Path, how: int) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for file in sorted(folder.rglob("*.*")):
            archive.write(file, file.relative_to(folder).as_posix())
    return path


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_gives_what_its_folder_gives(run, model, photos, tmp_path, how):
    (photos / "note.txt").write_text("not a photo")
    path = pack(photos, tmp_path / "photos.zip", how)
    code, report = run("edit", "--edit", "pc0=1", "--save-inversions")
    assert code == 0
    expected = {name: data for name, data in content(tmp_path / "out").items() if name.endswith(".png")}
    (tmp_path / "out").rename(tmp_path / "of the folder")
    code, again = run("edit", "--edit", "pc0=1", "--save-inversions", inputs=path)
    assert code == 0
    assert statuses(again) == statuses(report)
    assert {name: data for name, data in content(tmp_path / "out").items() if name.endswith(".png")} == expected
    asked = model.photos
    code, again = run("edit", "--edit", "pc0=1", inputs=path)
    assert (code, model.photos) == (0, asked)
    assert again["totals"]["skipped"] == 3


def test_a_zip_and_a_folder_together_keep_their_names(run, model, photos, tmp_path):
    path = pack(photos, tmp_path / "packed.zip", zipfile.ZIP_STORED)
    words = [str(photos), str(path), "--out", str(tmp_path / "out"), "--model", "tiny"]
    assert main(["invert", *words]) == 0
    made = content(tmp_path / "out")
    assert made["inversion/photos/anna.png"] == made["inversion/packed/anna.png"]


def test_bad_entries_of_a_zip_are_listed_and_the_rest_is_finished(run, model, photos, tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(photos / "anna.png", "anna.png")
        archive.write(photos / "anna.png", "../../escaped.png")
        archive.writestr("text.png", "this is no picture")
        archive.writestr("clip.mp4", b"")
    code, report = run("invert", inputs=path)
    assert code == 1
    assert statuses(report) == {
        "anna.png": "done",
        "../../escaped.png": "failed",
        "text.png": "failed",
        "clip.mp4": "failed",
    }
    assert not list(tmp_path.parent.rglob("escaped*"))


def test_what_is_no_zip_is_one_line(model, tmp_path, capsys):
    (tmp_path / "a.zip").write_bytes(b"no zip")
    assert main(["invert", str(tmp_path / "a.zip"), "--out", str(tmp_path / "out"), "--model", "tiny"]) == 2
    assert "not a readable zip" in capsys.readouterr().err


def test_pictures_and_videos_of_other_kinds_are_named_and_count_as_not_done(run, model, photos, capsys):
    (photos / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(40))
    (photos / "new.jxl").write_bytes(b"\xff\x0a" + bytes(40))
    (photos / "raw.cr2").write_bytes(b"II*\0\x10\0\0\0CR\2\0" + bytes(40))
    (photos / "notes.txt").write_text("not a photo")
    code, report = run("invert")
    assert code == 1
    assert (report["totals"]["done"], report["totals"]["failed"], report["totals"]["ignored"]) == (3, 3, 1)
    said = capsys.readouterr()
    assert "3 failed; 1 other file left aside" in said.out
    for words in ("clip.mp4: MP4: a video", "new.jxl: JPEG XL: a picture", "raw.cr2: RAW (CR2): a picture"):
        assert words in said.err


@pytest.mark.parametrize("content", [b"", b"B", b"P", b"P2", b"\0\0\1", b"II*"])
def test_a_note_of_a_few_bytes_beside_the_photos(run, model, photos, content):
    (photos / "notes.txt").write_bytes(content)
    code, report = run("invert", "--limit", "1")
    assert code == 0
    assert report["totals"]["ignored"] in (0, 1)
    assert report["totals"]["failed"] == 0


def test_endless_and_huge_files_are_not_hashed(run, model, photos):
    os.symlink("/dev/zero", photos / "endless.png")
    with open(photos / "huge.png", "wb") as handle:
        handle.truncate(byte_limit(10_000) + 1)  # no byte of it is on the disk
    code, report = run("invert", "max_pixels=10000")
    assert code == 1
    reasons = {line["name"]: line["reason"] for line in report["files"] if line["status"] == "failed"}
    assert set(reasons) == {"endless.png", "huge.png"}
    assert "are looked at" in reasons["huge.png"]


def test_a_damaged_profile_is_a_warning(run, model, photos):
    with Image.open(write_photo(photos / "p.png", 7)) as picture:
        picture.save(photos / "p.png", icc_profile=b"no profile")
    code, report = run("invert")
    assert code == 0
    warned = {line["name"]: line["warnings"] for line in report["files"]}
    assert "colour profile" in warned["p.png"][0]
