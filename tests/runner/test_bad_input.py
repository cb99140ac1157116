"""Bad photos are listed with the reason, and the rest of the folder is finished."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runner_helpers import statuses, write_photo
from safetensors.torch import save_file

import sdic
from sdic.utils import images

SHADES = np.linspace(0, 255, 64 * 64).reshape(64, 64)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bad_files(folder: Path) -> dict[str, str]:
    """One of every kind of file that cannot be read -> what its reason must say."""
    for name in ("cut.jpg", "cut.png", "cut.webp", "cut.tif"):
        truncate(write_photo(folder / name, 1))
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("this is no picture")
    (folder / "header.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "zero.pgm").write_bytes(b"P5 0 0 255\n")
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(64))
    Image.new("1", (10_000, 10_000)).save(folder / "bomb.png")
    os.symlink("nowhere.png", folder / "broken.png")
    os.symlink("circle.png", folder / "circle.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "weights.safetensors").write_bytes(bytes(100))
    save_file({"image": torch.zeros(1)}, folder / "odd.safetensors", {"format": "sdic.inversion"})
    return {
        "cut.jpg": "truncated",
        "cut.png": "truncated",
        "cut.webp": "damaged",
        "cut.tif": "damaged",
        "empty.jpg": "empty file",
        "text.png": "not a picture",
        "header.png": "damaged",
        "zero.pgm": "",
        "phone.heic": "HEIC",
        "bomb.png": "10000x10000 is more than",
        "broken.png": "broken link",
        "circle.png": "link",
        "pipe.png": "not a regular file",
        "odd.safetensors": "damaged",
        "weights.safetensors": "not a readable safetensors file",
    }


def test_every_bad_file_is_listed_and_the_rest_is_finished(run, model, photos, capsys):
    expected = bad_files(photos)
    (photos / "notes.txt").write_text("sidecar")
    (photos / ".hidden.jpg").write_text("hidden")
    (photos / "landmarks.tem").write_bytes(bytes(range(256)))
    write_photo(photos / "whole.png").rename(photos / "no ending")
    code, report = run("edit", "--edit", "pc0=1")
    assert code == 1
    lines = {line["name"]: line for line in report["files"]}
    for name, reason in expected.items():
        assert lines[name]["status"] == "failed", name
        assert reason in lines[name]["reason"], (name, lines[name]["reason"])
        assert "\n" not in lines[name]["reason"]
        assert lines[name]["outputs"] == []
    assert lines["notes.txt"]["status"] == lines["landmarks.tem"]["status"] == "ignored"
    assert lines["no ending"]["outputs"] == ["inversion/no ending.png", "pc0=1/no ending.png"]
    assert ".hidden.jpg" not in lines
    assert report["totals"] == {
        "photos": 4 + len(expected),
        "done": 4,
        "skipped": 0,
        "failed": len(expected),
        "not finished": 0,
        "ignored": 2,
    }
    errors = capsys.readouterr().err
    assert all(name in errors for name in expected)
    code, _ = run("edit", "--edit", "pc0=1")
    assert (code, model.loads, model.photos) == (1, 1, 4)  # still not well, and still no need for the model


def test_unusual_but_readable_photos_come_out_right(run, model, photos, tmp_path):
    grey = np.rint(SHADES).astype(np.uint8)
    plain = Image.fromarray(grey)
    plain.save(tmp_path / "plain.png")
    Image.fromarray((SHADES * 257).astype(np.uint16)).save(photos / "sixteen.png")
    palette = plain.convert("RGB").quantize(256)
    palette.save(photos / "palette.png")
    alpha = plain.convert("RGBA")
    alpha.putalpha(255)
    alpha.save(photos / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 3
    plain.rotate(180).save(photos / "upside.png", exif=exif)
    code, _ = run("invert")
    assert code == 0
    reference = np.asarray(_inverted(model, tmp_path / "plain.png"), dtype=float)
    for name in ("sixteen", "palette", "alpha", "upside"):
        with Image.open(tmp_path / "out" / ".sdic" / "photo" / f"{name}.png") as seen:
            assert np.abs(np.asarray(seen, dtype=float) - grey[..., None]).max() <= 2, name
        with Image.open(tmp_path / "out" / "inversion" / f"{name}.png") as picture:
            assert np.abs(np.asarray(picture, dtype=float) - reference).max() <= 4, name


def test_a_photo_of_another_shape_is_cropped_and_its_owner_told(run, model, photos, tmp_path):
    write_photo(photos / "wide.png", 3, (200, 100))
    write_photo(photos / "small.png", 3, (20, 20))
    for _ in range(2):  # the second run remembers
        code, report = run("invert")
        assert code == 0
        warnings = {line["name"]: " ".join(line["warnings"]) for line in report["files"]}
        assert "200x100 is not square; centre-cropped" in warnings["wide.png"]
        assert "enlarged" in warnings["small.png"]
        assert warnings["anna.png"] == ""


def test_an_unreadable_photo_is_a_failure_of_its_own(run, model, monkeypatch):
    real = open

    def refuse(path, *arguments, **options):
        if str(path).endswith("anna.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr("builtins.open", refuse)
    code, report = run("invert")
    assert code == 1
    assert statuses(report) == {"anna.png": "failed", "more/bo.jpg": "done", "more/jürgen 東京.png": "done"}
    assert report["files"][0]["reason"] == "cannot be read (Permission denied)"


def test_a_photo_that_breaks_the_model_does_not_take_its_batch_along(run, model, tiny, monkeypatch):
    real = tiny.invert
    sizes = []

    def picky(photos):
        sizes.append(len(photos))
        if photos.mean() > 0 and len(photos) == 1:
            raise RuntimeError("out of memory")
        if len(photos) > 1:
            raise RuntimeError("out of memory")
        return real(photos)

    monkeypatch.setattr(tiny, "invert", picky)
    code, report = run("invert", "--batch-size", "3")
    assert sizes == [3, 1, 1, 1]
    failed = [line for line in report["files"] if line["status"] == "failed"]
    assert code == (1 if failed else 0)
    assert 0 < len(failed) < 3
    assert all("not enough memory" in line["reason"] for line in failed)


def test_values_that_are_not_finite_are_never_written(run, model, tiny, monkeypatch, tmp_path):
    from dataclasses import replace

    real = tiny.invert
    monkeypatch.setattr(tiny, "invert", lambda photos: replace(real(photos), image=real(photos).image * float("nan")))
    code, report = run("invert")
    assert code == 1
    assert set(statuses(report).values()) == {"failed"}
    assert "not finite" in report["files"][0]["reason"]
    assert not (tmp_path / "out" / "inversion").exists() or not list((tmp_path / "out" / "inversion").rglob("*.png"))


def test_names_that_are_not_unicode(run, model, photos, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        write_photo(photos / name, 4)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    code, report = run("invert", "--save-inversions")
    assert code == 0
    assert (tmp_path / "out" / "inversion" / name).is_file()
    assert name in statuses(report)


def test_very_long_names(run, model, photos, tmp_path):
    name = "x" * 250 + ".png"
    write_photo(photos / name, 4)
    code, _ = run("invert")
    assert code == 0
    assert (tmp_path / "out" / "inversion" / name).is_file()
    assert run("invert")[1]["totals"]["skipped"] == 4


def test_the_pixel_limit_is_a_setting(run, model, photos):
    code, report = run("invert", "max_pixels=100")
    assert code == 1
    assert set(statuses(report).values()) == {"failed"}
    assert images.PIXEL_LIMIT > 1024 * 1024


def _inverted(model, path: Path) -> Image.Image:
    pictures = sdic.PictureInverter(model.inverter)
    return pictures.picture(pictures.invert(path))
