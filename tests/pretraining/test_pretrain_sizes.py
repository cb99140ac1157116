"""Picture sizes of the trainings: an encoder may look at less than is drawn, large pictures are not held in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pretraining_workshop import CONFIGS

import sdic
from sdic.checkpoints import read_bundle, write_native
from sdic.config import load_config
from sdic.data.samples import FolderPictures, SamplesConfig, open_samples
from sdic.errors import ConfigError
from sdic.loading import geometry_of
from sdic.tiny import tiny_bundle
from sdic.training.distributed import World
from sdic.training.loop import Trainer
from sdic.training.task import find_task
from sdic.types import Geometry

CPU = torch.device("cpu")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A folder of three pictures of somebody's own, 300x320."""
    folder = tmp_path / "own"
    folder.mkdir()
    for index in range(3):
        levels = np.random.RandomState(index).randint(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(levels).resize((300, 320), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def encoder_task(tmp_path: Path, own: Path, *words: str) -> Any:
    """The training of an e4e for a 64 px generator, on the pictures of `own`."""
    generator = tmp_path / "generator.safetensors"
    write_native(generator, {"generator": tiny_bundle(0).networks["generator"]})
    settings = [f"run.dir={tmp_path / 'run'}", f"generator={generator}", "data.source=folder", f"data.path={own}"]
    settings += ["attributes=''", "identity=''", "perceptual=0", "id=0", "run.images=2", "optim.batch=2", *words]
    entry = find_task("e4e")
    return entry.task(load_config(entry.config, CONFIGS / "encoder_debug.yaml", settings), World(0, 1, CPU))


def opened(own: Path, side: int, **options: Any) -> Any:
    return open_samples(SamplesConfig("folder", str(own), side), 0, CPU, {}, **options)


@pytest.mark.parametrize("side", [32, 64])
def test_an_encoder_is_trained_at_the_size_it_looks_at(tmp_path: Path, own: Path, side: int) -> None:
    task = encoder_task(tmp_path, own, f"data.resolution={side}")
    assert Trainer(task).run() == 0
    path = tmp_path / "run" / "result" / "encoder.safetensors"
    bundle = read_bundle(tmp_path / "generator.safetensors").merge(read_bundle(path))
    encoder: Any = bundle.networks["encoder"]
    assert encoder.config.input_size == side
    assert geometry_of(bundle) == Geometry(64, (side, side))
    whole = tmp_path / "whole.safetensors"
    write_native(whole, bundle.networks, bundle.source)
    assert sdic.load(whole, "cpu").invert(torch.zeros(1, 3, 64, 64)).image.shape == (1, 3, 64, 64)
    assert task.drawn(torch.zeros(1, 10, 64)).shape == (1, 3, side, side)


def test_an_encoder_cannot_look_at_more_than_the_generator_draws(tmp_path: Path, own: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.resolution=128, but .*draws 64 px"):
        encoder_task(tmp_path, own, "data.resolution=128")


def test_large_pictures_are_read_batch_by_batch(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = opened(own, 300)
    assert isinstance(streamed.pictures, FolderPictures)
    assert isinstance(opened(own, 256).pictures, torch.Tensor)
    monkeypatch.setattr("sdic.data.samples.IN_MEMORY", 300)
    kept = opened(own, 300)
    assert isinstance(kept.pictures, torch.Tensor)
    for index in ([2, 0], [1], [0, 0, 2]):
        assert torch.equal(streamed.batch(torch.tensor(index)), kept.batch(torch.tensor(index)))
    assert torch.equal(streamed.first(2), kept.first(2))
    assert len(streamed) == len(kept) == len(streamed.labels) == 3
    read: list[str] = []
    source = streamed.pictures.dataset.source
    whole = source.read
    monkeypatch.setattr(source, "read", lambda name: read.append(name) or whole(name))  # type: ignore[func-returns-value]
    streamed.batch(torch.tensor([1]))
    assert len(read) == 1


@pytest.mark.parametrize("side", [64, 300])
def test_pictures_that_cannot_be_read_are_named(own: Path, side: int) -> None:
    (own / "3.png").write_bytes(b"no picture")
    whole = (own / "1.png").read_bytes()
    (own / "1.png").write_bytes(whole[: len(whole) // 2])
    said: list[str] = []
    samples = opened(own, side, say=said.append)
    for _ in range(2):
        samples.batch(torch.arange(len(samples)))
    assert len(said) == 2
    assert "3.png" in said[0]
    assert "1.png" in said[1]
