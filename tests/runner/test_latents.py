"""Codes without photos: those of other tools can be edited, and `--save-latents` writes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from runner_helpers import content, statuses, write_photo

import sdic
from sdic.cli import main
from sdic.editing.directions import load_direction
from sdic.errors import ConfigError
from sdic.utils.images import to_picture

ROWS, WIDTH = 10, 64


@pytest.fixture
def codes(tiny) -> torch.Tensor:
    """Three codes [3, 10, 64] near the mean."""
    return tiny.generator.latent_avg + 0.3 * torch.randn(3, ROWS, WIDTH)


@pytest.fixture
def edit(model, tmp_path):
    """`edit(file, ...)` -> (exit code, report)."""

    def call(*inputs: Path, words: tuple[str, ...] = ("--edit", "pc0=2")):
        out = tmp_path / "out"
        code = main(["edit", *map(str, inputs), "--out", str(out), "--model", "tiny", *words])
        file = out / "report.json"
        return code, json.loads(file.read_text()) if file.is_file() else {}

    return call


def pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def write(path: Path, values) -> Path:
    if path.suffix == ".pt":
        torch.save(values, path)
    elif path.suffix == ".npz":
        np.savez(path, **{name: value.numpy() for name, value in values.items()})
    else:
        np.save(path, values.double().numpy())
    return path


@pytest.mark.parametrize("suffix", [".pt", ".npy", ".npz"])
def test_a_code_of_another_tool_is_edited(edit, tiny, codes, tmp_path, suffix):
    values = {"w": codes[:1]} if suffix == ".npz" else codes[0]
    code, report = edit(write(tmp_path / f"latents{suffix}", values))
    assert code == 0, report
    assert statuses(report) == {f"latents{suffix}": "done"}
    inversion = tiny.from_latent(codes[:1])
    expected = tiny.edit(inversion, load_direction("pc0", generator=tiny.generator), 2.0)
    out = tmp_path / "out"
    assert np.array_equal(pixels(out / "inversion" / "latents.png"), np.asarray(to_picture(inversion.image)))
    assert np.array_equal(pixels(out / "pc0=2" / "latents.png"), np.asarray(to_picture(expected)))
    with torch.no_grad():
        assert torch.equal(inversion.image, tiny.generator.synthesis(codes[:1]))
    assert edit(tmp_path / f"latents{suffix}")[1]["totals"]["skipped"] == 1


@pytest.mark.parametrize("shape", ["stack", "one by one", "dict", "projector", "list"])
def test_many_codes_in_a_file_are_many_pictures(edit, codes, tmp_path, shape):
    names = ["anna.jpg", "bo.png", "more/c d.png"]
    values, stems = {
        "stack": (codes, ["latents-00000", "latents-00001", "latents-00002"]),
        "one by one": (codes[:, None], ["latents-00000", "latents-00001", "latents-00002"]),
        "dict": (dict(zip(names, codes, strict=True)), ["anna", "bo", "more_c d"]),
        "projector": (
            {name: {"latent": code, "noise": []} for name, code in zip(names, codes, strict=True)},
            ["anna", "bo", "more_c d"],
        ),
        "list": (list(codes), ["latents-0", "latents-1", "latents-2"]),
    }[shape]
    code, report = edit(write(tmp_path / "latents.pt", values))
    assert code == 0, report
    assert sorted(path.stem for path in (tmp_path / "out" / "inversion").iterdir()) == stems
    assert (tmp_path / "out" / "sheet.png").is_file()


def test_codes_of_w_fit_every_row(edit, tiny, codes, tmp_path):
    assert edit(write(tmp_path / "w.npy", codes[0, 0]))[0] == 0
    expected = tiny.from_latent(codes[:1, :1].expand(-1, ROWS, -1)).image
    assert np.array_equal(pixels(tmp_path / "out" / "inversion" / "w.png"), np.asarray(to_picture(expected)))


def test_names_in_a_file_cannot_leave_the_output_folder(edit, codes, tmp_path):
    names = ["../../evil", "/etc/evil", "..", "a\\..\\evil", "line\nbreak", ".hidden", "nul\0", "same", "same.png"]
    values = {name: codes[0] + index for index, name in enumerate(names)}
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    code, report = edit(write(tmp_path / "latents.pt", values), words=("--edit", "pc0=1", "--save-latents"))
    assert code == 0, report
    assert report["totals"]["done"] == len(names)
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before - {tmp_path / "latents.pt"}
    assert all(tmp_path / "out" in path.parents for path in written)
    assert len(list((tmp_path / "out" / "inversion").iterdir())) == len(names)


class Hostile:
    """What numpy would execute if it read it."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("steps", [1, 3])
def test_a_dict_of_names_that_numpy_pickled(steps, edit, codes, tmp_path):
    """As pSp and ReStyle write latents.npy: name -> code, or the codes of every step. Nothing in it is executed."""
    latents = {f"{name}.jpg": [code.numpy()] * steps for name, code in zip("ab", codes, strict=False)}
    np.save(tmp_path / "latents.npy", latents if steps > 1 else {k: v[0] for k, v in latents.items()})
    code, report = edit(tmp_path / "latents.npy")
    assert code == 0, report
    assert report["totals"]["done"] == 2 * steps


def test_what_holds_no_codes_says_so_and_the_rest_is_finished(edit, tiny, codes, tmp_path, capsys):
    good = write(tmp_path / "good.npy", codes[0])
    write(tmp_path / "other.npy", torch.randn(18, 512))
    write(tmp_path / "nan.npy", torch.full((ROWS, WIDTH), torch.nan))
    torch.save(tiny.generator.state_dict(), tmp_path / "weights.pt")
    torch.save({"state_dict": {}, "step": 3}, tmp_path / "empty.pt")
    np.save(tmp_path / "hostile.npy", Hostile(), allow_pickle=True)
    torch.save({"a": codes[0], "b": "text"}, tmp_path / "mixed.pt")
    (tmp_path / "damaged.pt").write_bytes(good.read_bytes()[:100])
    code, report = edit(*(tmp_path / name for name in sorted(path.name for path in tmp_path.glob("*.*"))))
    assert code == 1
    found = {line["name"]: (line["status"], line["reason"] or "") for line in report["files"]}
    assert found["good.npy"][0] == found["mixed.pt#a"][0] == "done"
    for name, reason in (
        ("other.npy", "codes of tiny are 10 rows x 64, these are [18, 512]"),
        ("nan.npy", "not finite"),
        ("weights.pt", "no codes"),
        ("empty.pt", "no codes"),
        ("hostile.npy", "could execute code"),
        ("mixed.pt#b", "this is a str"),
        ("damaged.pt", ""),
    ):
        assert found[name][0] == "failed", name
        assert reason in found[name][1], (name, found[name])


def test_save_latents_writes_small_files_that_edit_takes(run, edit, model, tiny, tmp_path):
    assert run("invert", "--save-latents", "--save-inversions")[0] == 0
    folder = tmp_path / "out" / "latents"
    names = ["anna.npy", "more/bo.npy", "more/jürgen 東京.npy"]
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.npy")) == names
    saved = np.load(folder / "anna.npy")
    inversion = sdic.Inversion.load(tmp_path / "out" / "inversions" / "anna.safetensors")
    assert saved.dtype == np.float32
    assert np.array_equal(saved, inversion.latent[0].numpy())
    assert (folder / "anna.npy").stat().st_size < 4 * ROWS * WIDTH + 200
    photos = model.photos
    words = ["edit", str(folder), "--out", str(tmp_path / "again"), "--model", "tiny", "--edit", "pc0=1"]
    assert main([*words, "--save-latents"]) == 0  # a folder of nothing but codes
    assert model.photos == photos
    again = content(tmp_path / "again")
    assert {"inversion/anna.png", "pc0=1/more/bo.png", "latents/anna.npy"} <= set(again)
    assert again["latents/anna.npy"] == (folder / "anna.npy").read_bytes()
    assert run("invert", "--save-latents")[1]["totals"]["skipped"] == 3
    (folder / "anna.npy").unlink()
    assert run("edit", "--edit", "pc0=1", "--save-latents")[0] == 0
    assert np.array_equal(np.load(folder / "anna.npy"), saved)


def test_codes_beside_photos_are_meant_only_when_named(edit, model, codes, photos, tmp_path):
    file = write(photos / "landmarks.npy", codes[0])
    assert statuses(edit(photos)[1])["landmarks.npy"] == "ignored"
    write_photo(tmp_path / "landmarks.png")
    code, report = edit(file, tmp_path / "landmarks.png")
    assert code == 0
    assert len({path for line in report["files"] for path in line["outputs"]}) == 4  # two names of their own


def test_invert_says_what_codes_are_for(run, codes, tmp_path, capsys):
    assert run("invert", inputs=write(tmp_path / "latents.pt", codes))[0] == 2
    assert "use: sdic edit" in capsys.readouterr().err


def test_codes_of_another_shape_are_refused(tiny, codes):
    for bad in (codes[0], codes[:, :4], codes[:, :, :32], codes[:0]):
        with pytest.raises(ConfigError, match="another generator"):
            tiny.from_latent(bad)
