"""Raw photos in trainings and evaluations: each is the crop of its face, by landmarks (which take no weights)."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdic.cli import main
from sdic.config import load_config
from sdic.data.folder import FolderSource
from sdic.errors import CheckpointError, ConfigError, ImageError
from sdic.evaluation.pictures import Photos
from sdic.faces import finding
from sdic.faces.alignment import align
from sdic.faces.finding import AlignSettings
from sdic.faces.source import AlignedSource, aligned
from sdic.training import photos as training
from sdic.training.distributed import World
from sdic.training.task import find_task
from sdic.types import Geometry
from sdic.utils.images import fit, read_picture, to_tensor
from tests.faces.test_alignment import face_at, photo_of
from tests.faces.test_folders import line

DEBUG = Path(__file__).parents[2] / "configs" / "train" / "debug.yaml"
GEOMETRY = Geometry(64, (64, 64))
FACES = {"a.png": face_at(150, 130, 120, 12), "b.png": face_at(100, 120, 90)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, name in enumerate(FACES):
        photo_of(300, 260, number).save(folder / name)
    (tmp_path / "points.csv").write_text("\n".join(line(name, face) for name, face in FACES.items()))
    return folder


def settings(photos: Path, **others: str) -> AlignSettings:
    return AlignSettings(**{"align": "auto", "landmarks": str(photos.parent / "points.csv"), **others})


def crop(photos: Path, name: str) -> np.ndarray:
    return np.asarray(align(read_picture(photos / name), FACES[name], 64)[0])


def near(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal but for the four decimals of a landmark file."""
    return bool(np.abs(one.astype(int) - other).max() <= 3)


def test_each_photo_is_its_crop(photos: Path) -> None:
    source = aligned(FolderSource(photos), settings(photos), GEOMETRY)
    assert source.names == ["a.png", "b.png"]
    for name in FACES:
        assert near(np.asarray(source.read(name)), crop(photos, name))
    again = pickle.loads(pickle.dumps(source))  # as loader processes get it
    assert near(np.asarray(again.read("a.png")), crop(photos, "a.png"))
    assert source.check("a.png") == ""
    Image.new("RGB", (50, 40)).save(photos / "c.png")
    with pytest.raises(ImageError, match="no landmarks of it"):
        aligned(FolderSource(photos), settings(photos), GEOMETRY).read("c.png")


def test_what_cannot_be_asked_for(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = FolderSource(photos)
    assert aligned(plain, settings(photos, align="never"), GEOMETRY) is plain
    with pytest.raises(ConfigError, match="one face each"):
        aligned(plain, settings(photos, face="all"), GEOMETRY)
    with pytest.raises(ConfigError, match="a crop is square"):
        aligned(plain, settings(photos), Geometry(512, (192, 256), (64, 448, 0, 512)))
    monkeypatch.setattr(finding, "_file", lambda name: None)
    with pytest.raises(CheckpointError, match="three ways on"):  # at once, not at the first photo
        aligned(plain, settings(photos, landmarks=""), GEOMETRY)
    assert isinstance(aligned(plain, settings(photos), GEOMETRY), AlignedSource)


def test_photos_that_are_measured(photos: Path) -> None:
    found = Photos(str(photos), 10, GEOMETRY, torch.device("cpu"), align=settings(photos))
    pictures = list(found.read(lambda key: True, lambda key: False))
    assert [picture.key.split()[0] for picture in pictures] == ["a.png", "b.png"]
    expected = to_tensor(fit(Image.fromarray(crop(photos, "a.png")), GEOMETRY)[0])
    assert (pictures[0].photo[0] - expected).abs().max() < 0.05
    plain = Photos(str(photos), 10, GEOMETRY, torch.device("cpu"))
    assert found.identity != plain.identity


def test_evaluate_takes_raw_photos(photos: Path, tmp_path: Path) -> None:
    def numbers(*words: str) -> dict[str, float]:
        out, file = str(tmp_path / "out"), tmp_path / "numbers.json"
        command = ["evaluate", str(photos), "--methods", "tiny-e4e", "--out", out, "--json", str(file), *words]
        assert main(command) == 0
        return json.loads(file.read_text())["tiny-e4e"]

    points = str(tmp_path / "points.csv")
    plain, raw = numbers(), numbers("--align", "always", "--landmarks", points)
    assert raw["psnr"] != plain["psnr"]
    assert numbers()["psnr"] == plain["psnr"]  # as they are, unless asked
    assert main(["evaluate", "--align", "auto"]) == 2


def test_train_takes_raw_photos(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = f"data.landmarks={tmp_path / 'points.csv'}"
    words = ["data.source=folder", f"data.path={photos}", "data.align=always", points, "data.flip=false"]
    config = load_config(find_task("sdic").config, DEBUG, words)
    batches = training.Photos(config, GEOMETRY, World(0, 1, torch.device("cpu")), None, print).batches(0, 2)
    batch = next(batches)
    for name, photo in zip(batch.names, batch.photo, strict=True):
        expected = to_tensor(Image.fromarray(crop(photos, name)))
        assert (photo - expected).abs().max() < 0.05
    with pytest.raises(ConfigError, match="largest, all, or a number"):
        load_config(find_task("sdic").config, DEBUG, ["data.face=big"])
    assert main(["train", "sdic", "--config", str(DEBUG), "--align", "auto", "--dry-run"]) == 0
    assert "align: auto" in capsys.readouterr().out
    assert main(["train", "generator", "--align", "auto", "--dry-run"]) == 2
    assert "data.align" in capsys.readouterr().err
