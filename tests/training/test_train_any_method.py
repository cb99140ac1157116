"""The task of inverters names no method: one that exists in this file alone trains, resumes, is exported and loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from test_train_resume import same
from torch import nn
from training_processes import SMALL

import sdic
from sdic.checkpoints import bundle, read_bundle
from sdic.config import load_config
from sdic.methods import METHODS, Inverter
from sdic.settings import setting
from sdic.training.distributed import World
from sdic.training.loop import Trainer
from sdic.training.tasks.inverter import InverterTask
from sdic.training.tasks.inverter_settings import config_of
from sdic.types import Inversion


@dataclass(frozen=True)
class ShiftConfig:
    width: int = 64


class Shift(nn.Module):
    """A correction of a code."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.width, config.width)

    def forward(self, latent):
        return 0.1 * self.linear(latent)


@dataclass
class ToySettings:
    bias: bool = setting(True, "start from zero")


class ToyInverter(Inverter):
    """w' = w + shift(w): a method without a feature."""

    method = "toy"
    networks = {"generator": "generator", "encoder": "encoder", "shift": "shift"}  # noqa: RUF012
    trains = ("shift",)
    stored = ("latent",)
    Settings = ToySettings

    def __init__(self, generator, encoder, shift, geometry):
        super().__init__(generator, geometry)
        self.encoder, self.shift = encoder, shift

    @classmethod
    def trainable(cls, settings, generator, geometry, held=None):
        return {"shift": Shift(ShiftConfig(generator.config.style_dim))} if held is None else dict(held)

    def _frozen_pass(self, photo, known):
        return {"latent": known["latent"] if "latent" in known else self.encoder(photo)}

    def _invert(self, photo, frozen: Mapping[str, torch.Tensor] | None = None):
        latent = (self.frozen_pass(photo) if frozen is None else frozen)["latent"]
        moved = latent + self.shift(latent)
        return Inversion(image=self.generator.synthesis(moved, noise=self.noise), latent=moved, base_latent=latent)


@pytest.fixture
def toy(monkeypatch):
    """Words -> a run of the toy method; for the time of a test it is known."""

    def build(networks, geometry, options):
        return ToyInverter(networks["generator"], networks["encoder"], networks["shift"], geometry, **options)

    monkeypatch.setitem(METHODS, "toy", (ToyInverter, build))
    monkeypatch.setitem(bundle.NETWORKS, "shift", bundle.NetworkKind(ShiftConfig, Shift))
    small = [word for word in SMALL if "spatial_contextual" not in word]

    def run(*words):
        settings = ["run.images=20", "model.frozen=tiny", "data.source=synthetic", "data.workers=0", "loss.lpips=0"]
        settings += ["loss.id=0", "loss.id_network=none", "optim.name=adam", "device=cpu", "loss.edit=0.01"]
        config = load_config(config_of(ToyInverter), None, [*settings, *small, *words])
        return Trainer(InverterTask("toy", config, World(0, 1, torch.device("cpu"))))

    return run


def test_a_method_of_ones_own_trains_resumes_exactly_and_loads(tmp_path, toy):
    straight, broken = tmp_path / "straight" / "run", tmp_path / "broken" / "run"
    words = ("optim.ema_images=9", "data.cache=codes", f"data.cache_dir={tmp_path / 'cache'}")
    run = toy(f"run.dir={straight}", *words)
    assert run.run() == 0
    stopped = toy(f"run.dir={broken}", *words)
    inner = stopped.step

    def step(batches):
        if stopped.progress.steps == 7:
            raise KeyboardInterrupt
        inner(batches)

    stopped.step = step
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    assert toy(f"run.dir={broken}", *words).run() == 0
    same(broken, straight, 20)
    result = straight / "result" / "toy.safetensors"
    assert set(read_bundle(result).networks) == {"shift"}
    assert read_bundle(result).source["method"] == "toy"
    inverter = sdic.load(straight, "cpu", optimize=False)
    assert inverter.method == "toy"
    inversion = inverter.invert(torch.zeros(1, 3, 64, 64))
    assert not torch.equal(inversion.latent, inversion.base_latent)
    assert inversion.feature is None


def test_its_settings_are_in_the_config_and_what_trains_learns(tmp_path, toy):
    run = toy(f"run.dir={tmp_path / 'run'}", "optim.lr=0.01", "run.log_every=10", "run.images=60", "data.limit=2")
    assert run.config.model.bias is True
    assert run.run() == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < 0.95 * lines[0]["loss"]
