"""What a method in files of its own can do without any other file knowing it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sdic
from sdic import zoo
from sdic.checkpoints import FORMATS, NETWORKS, read_bundle
from sdic.cli import main
from sdic.direction import Direction
from sdic.errors import CheckpointError, ConfigError
from sdic.methods import METHODS
from sdic.tiny import tiny_bundle
from sdic.training.task import _TASKS as TASKS
from sdic.training.task import tasks

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).parent / "toy.yaml"


@pytest.fixture(scope="module", autouse=True)
def _toy() -> Iterator[None]:
    """The method is known while these tests run, and not to others."""
    tasks()  # whatever else is to be known
    registries = (METHODS, NETWORKS, FORMATS, zoo.MODELS, TASKS)
    before = [dict(registry) for registry in registries]
    assert not any("toy" in registry for registry in registries)
    from tests.toy_method import known

    assert known.method.ToyInverter is METHODS["toy"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    for registry, old in zip(registries, before, strict=True):
        registry.clear()
        registry.update(old)  # type: ignore[arg-type]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of its card, as its authors saved it."""
    networks = tiny_bundle(5).networks
    state = {"C.fix.weight": torch.randn(64, 64), "C.fix.bias": torch.zeros(64)}
    for prefix, role in (("G.", "generator"), ("E.", "encoder")):
        state |= {prefix + key: value for key, value in networks[role].state_dict().items()}
    torch.save({"toy": state}, tmp_path / "toy.pt")
    monkeypatch.setenv(zoo.ENVIRONMENT, str(tmp_path))
    return tmp_path / "toy.pt"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of two photos."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(2):
        levels = np.random.RandomState(index).randint(0, 256, (6, 6, 3)).astype(np.uint8)
        Image.fromarray(levels).resize((64, 64), Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


def test_it_loads_by_card_by_file_and_converted(published: Path, tmp_path: Path) -> None:
    assert main(["convert", str(published), "--out", str(tmp_path / "ours.safetensors")]) == 0
    models = [
        sdic.load(name, "cpu", optimize=False) for name in ("toy-model", published, tmp_path / "ours.safetensors")
    ]
    assert [model.method for model in models] == ["toy"] * 3
    assert {model.domain for model in models} == {"tiny"}
    photo = torch.zeros(1, 3, 64, 64)
    first, *others = [model.invert(photo) for model in models]
    assert not torch.equal(first.latent, first.base_latent)
    for other in others:
        torch.testing.assert_close(other.image, first.image)
    alone = sdic.load(published, "cpu", method="e4e", optimize=False)  # the same networks by another method
    torch.testing.assert_close(alone.invert(photo).latent, first.base_latent)
    with pytest.raises(CheckpointError, match="dipn"):
        sdic.load(published, "cpu", method="sdic")


def test_its_options_are_its_own(published: Path, photos: torch.Tensor) -> None:
    model = sdic.load("toy-model", "cpu")
    inversion, direction = model.invert(photos[:1]), Direction(torch.randn(64))
    further = model.edit(inversion, direction, 1.0, reach=2)
    torch.testing.assert_close(further, model.edit(inversion, direction, 2.0))
    other = sdic.load("toy-model", "cpu", reach=2.0)
    torch.testing.assert_close(other.edit(inversion, direction, 1.0), further)
    assert sorted(model.variants()) == ["further"]
    assert not other.variants()
    assert model.options.reach == 1.0
    with pytest.raises(ConfigError, match=r"no option 'rech'.*did you mean 'reach'"):
        sdic.load("toy-model", "cpu", rech=2.0)
    for name, said in (("rule", "an edit by method 'toy' has no option 'rule'"), ("share", "no option 'share'")):
        with pytest.raises(ConfigError, match=said):
            model.edit(inversion, direction, 1.0, **{name: 1.0})


def test_a_folder_of_photos_is_edited_with_its_options(published: Path, pictures: Path, tmp_path: Path, capsys) -> None:
    words = [str(pictures), "--model", "toy-model", "--device", "cpu"]
    for name, more in (("once", ["pc0=2"]), ("twice", ["pc0=1", "--option", "reach=2"])):
        assert main(["edit", *words, "--out", str(tmp_path / name), "--edit", *more]) == 0
    once, twice = (np.asarray(Image.open(tmp_path / p / "0.png")) for p in ("once/pc0=2", "twice/pc0=1"))
    assert np.array_equal(once, twice)
    assert main(["edit", *words, "--out", str(tmp_path / "no"), "--edit", "pc0=1", "--rule", "released"]) == 2
    assert "no option 'rule'" in capsys.readouterr().err
    assert main(["invert", *words, "--out", str(tmp_path / "no"), "--option", "reach=2"]) == 2
    assert "does not edit" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_it_trains_is_killed_and_resumed_exactly_and_loads(tmp_path: Path) -> None:
    straight, broken = tmp_path / "straight" / "run", tmp_path / "broken" / "run"
    words = ["train", "toy", "--config", str(CONFIG), "device=cpu"]
    assert main([*words, f"run.dir={straight}"]) == 0
    killed = [sys.executable, "-m", "tests.toy_method.killed", "7", "device=cpu", f"run.dir={broken}"]
    assert subprocess.run(killed, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    states = sorted(path.name for path in (broken / "checkpoints").glob("state-*"))
    assert states == ["state-00000008.pt"]  # of step 4; steps 5 to 7 are done again
    assert main([*words, f"run.dir={broken}"]) == 0
    for name in ("metrics.jsonl", "checkpoints/weights-00000040.safetensors", "result/toy.safetensors"):
        assert (broken / name).read_bytes() == (straight / name).read_bytes()

    result = straight / "result" / "toy.safetensors"
    bundle = read_bundle(result)
    assert set(bundle.networks) == {"corrector"}
    assert bundle.source["method"] == "toy"
    assert json.loads(bundle.source["options"]) == {"share": 0.5}
    for name in (straight, result):
        model = sdic.load(name, "cpu", optimize=False)
        assert (model.method, model.options.share, model.options.reach) == ("toy", 0.5, 1.0)
    lines = [json.loads(line) for line in (straight / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 10  # 20 steps, two a line
    assert losses[-1] < losses[0]


def test_it_is_evaluated_beside_another_method(published: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "numbers"
    words = ["evaluate", str(pictures), "--domain", "tiny", "--methods", "toy,tiny-e4e", "--device", "cpu"]
    assert main([*words, "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    entry = report["methods"]["toy"]
    assert (entry["model"], entry["method"], entry["share"], entry["reach"]) == ("toy-model", "toy", "0.1", "1.0")
    assert report["methods"]["tiny-e4e"]["method"] == "e4e"
    model, errors = sdic.load("toy-model", "cpu"), []
    for path in sorted(pictures.iterdir()):
        photo = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 127.5 - 1
        errors.append(float((model.invert(photo).image.clamp(-1, 1) - photo).square().mean()))
    assert report["results"]["toy"]["l2"] == pytest.approx(np.mean(errors), rel=1e-3)
    assert report["results"]["toy"]["l2"] != report["results"]["tiny-e4e"]["l2"]
