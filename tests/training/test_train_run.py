"""Whole runs: they learn, they stop when asked, they survive bad steps, they leave what they promise."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from training_processes import DEBUG, REPOSITORY, SMALL

import sdic
from sdic.checkpoints import read_bundle
from sdic.data.dataset import Batch, PictureDataset, collate
from sdic.data.synthetic import SyntheticSource
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.training.distributed import World
from sdic.training.step import training_step
from sdic.training.trainer import Trainer, train
from sdic.utils.tensors import fingerprint

ALONE = World(0, 1, torch.device("cpu"))


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_overfits_eight_pictures_to_a_tenth_of_the_starting_loss(tmp_path, small_config):
    """The debug config as it is (all modules), eight pictures, fifty steps."""
    from sdic.config import load_config
    from sdic.training.config import TrainConfig

    words = [f"run.dir={tmp_path / 'run'}", "run.steps=50", "run.pictures=0", "validation.every=0", "run.log_every=0"]
    trainer = Trainer(load_config(TrainConfig, DEBUG, [*words, "run.tensorboard=false"]), ALONE)

    def joint_loss(picture_set):
        batch = collate([picture_set[index] for index in range(8)])
        trainer.stack.compensator.train()
        kept = [buffer.clone() for buffer in trainer.stack.compensator.buffers()]
        with torch.no_grad():
            value = training_step(trainer.stack, trainer.stack.compensator, trainer.loss, batch)["loss"].item()
        for buffer, value_before in zip(trainer.stack.compensator.buffers(), kept, strict=True):
            buffer.copy_(value_before)
        return value

    pictures = [f"data-{index:05d}" for index in range(8)]
    dataset = PictureDataset(SyntheticSource(8, prefix="data"), pictures, trainer.stack.geometry)
    frozen = [fingerprint(network) for network in (trainer.stack.generator, trainer.stack.encoder)]
    before = joint_loss(dataset)
    assert trainer.run() == 0
    assert trainer.feed.dataset.names == pictures
    after = joint_loss(dataset)
    print(f"joint loss of the eight pictures: {before:.3f} -> {after:.3f}")
    assert after < before / 10
    assert [fingerprint(network) for network in (trainer.stack.generator, trainer.stack.encoder)] == frozen


def test_a_run_leaves_config_log_metrics_events_pictures_and_weights(tmp_path, small_config):
    folder = tmp_path / "run"
    words = ("run.steps=4", "run.save_every=1", "run.keep_last=2", "run.pictures=2", "run.pictures_every=4")
    config = small_config(
        f"run.dir={folder}", *words, "validation.every=2", "run.tensorboard=true", "optim.ema=0.5", "data.workers=1"
    )
    assert Trainer(config, ALONE).run() == 0
    assert {path.name for path in folder.iterdir()} > {"config.yaml", "log.txt", "metrics.jsonl", "pictures"}
    assert list(folder.glob("events.out.tfevents.*"))
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == [
        "best.safetensors",
        *(f"state-0000000{step}.pt" for step in (3, 4)),
        *(f"weights-0000000{step}.safetensors" for step in (3, 4)),
    ]
    from PIL import Image

    with Image.open(folder / "pictures" / "00000004.png") as grid:
        assert grid.size == (5 * 64, 2 * 64)
    kinds = [(line["step"], line["kind"]) for line in lines(folder)]
    assert kinds == [(2, "train"), (2, "validation"), (4, "train"), (4, "validation")]
    first = lines(folder)[0]
    assert {"loss", "l2", "edit", "grad_norm"} <= set(first)
    assert first["loss"] == pytest.approx(first["l2"] + 0.05 * first["edit"], rel=1e-5)
    assert {"l2", "psnr", "ssim"} <= set(lines(folder)[1])
    # The same command again has nothing to do, and says so.
    assert Trainer(config, ALONE).run() == 0
    assert [(line["step"], line["kind"]) for line in lines(folder)] == kinds

    state = torch.load(folder / "checkpoints" / "state-00000004.pt", weights_only=True)
    assert not [key for key in state["compensator"] if not key.startswith(("dipn.", "dicn."))]
    inverter = sdic.load(folder, "cpu", optimize=False)
    assert (inverter.layer, inverter.domain) == (3, "tiny")
    assert inverter.invert(torch.zeros(1, 3, 64, 64)).image.shape == (1, 3, 64, 64)
    last = sdic.load(folder / "checkpoints/weights-00000004.safetensors", "cpu", optimize=False)
    for name, tensor in last.compensator.state_dict().items():
        assert torch.equal(tensor, state["average"][name]), name


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
    """The real command in a process of its own."""
    folder = tmp_path / "run"
    command = [sys.executable, str(REPOSITORY / "scripts/train.py"), "--config", str(DEBUG), *SMALL]
    command += [f"run.dir={folder}", "run.steps=1000", "run.log_every=1", "run.save_every=0"]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 100
    while not (folder / "metrics.jsonl").is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert "saved; the same command goes on from here" in said
    states = list((folder / "checkpoints").glob("state-*.pt"))
    assert len(states) == 1
    assert lines(folder)[-1]["step"] == torch.load(states[0], weights_only=True)["progress"]["step"]


class Poisoned(Trainer):
    """Any batch with this picture has a loss that is not a number."""

    picture = "data-00003"

    def _forward(self, batch):
        terms = super()._forward(batch)
        if self.picture in batch.names:
            terms["loss"] = terms["loss"] * float("nan")
            for buffer in self.stack.compensator.buffers():
                buffer.data.fill_(7)  # as if the bad batch had gone into the running statistics
        return terms


def test_a_step_that_is_not_finite_stops_the_run_and_names_its_pictures(tmp_path, small_config):
    trainer = Poisoned(small_config(f"run.dir={tmp_path / 'run'}", "run.steps=5"), ALONE)
    with pytest.raises(SdicError, match=r"not finite.*data-00003.*run\.on_nan=skip"):
        trainer.run()
    assert all(torch.isfinite(tensor).all() for tensor in trainer.stack.compensator.state_dict().values())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_or_it_is_left_out_and_nothing_of_it_stays(tmp_path, small_config, precision):
    words = (f"run.dir={tmp_path / 'run'}", "run.steps=5", "run.on_nan=skip", f"precision={precision}")
    trainer = Poisoned(small_config(*words), ALONE)
    assert trainer.run() == 0
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("is not finite") >= 1
    assert "data-00003" in text
    state = trainer.stack.compensator.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert not any((tensor == 7).all() for name, tensor in state.items() if "running" in name)
    if precision == "fp32":  # in fp16 the first steps may all overflow, and nothing is written
        assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines(tmp_path / "run"))


def test_dry_run_prints_config_sizes_and_memory_and_leaves_nothing(tmp_path, small_config, capsys):
    assert train(small_config(f"run.dir={tmp_path / 'run'}", "device=cpu"), dry_run=True) == 0
    said = capsys.readouterr().out
    for word in ("lr: 0.002", "trains: DIPN", "frozen: generator", "photos at 64x64", "memory a process, estimated"):
        assert word in said
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_shared_out_is_an_error(small_config):
    with pytest.raises(ConfigError, match=r"optim\.batch=2 cannot be split over 4 processes"):
        Trainer(small_config(), World(0, 4, torch.device("cpu")))


def test_resuming_beside_other_frozen_weights_or_another_model_is_an_error(tmp_path, small_config):
    config = small_config(f"run.dir={tmp_path / 'run'}", "run.steps=1")
    trainer = Trainer(config, ALONE)
    assert trainer.run() == 0
    trainer.stack.hashes["generator"] = "f" * 64
    with pytest.raises(CheckpointError, match=r"ffff.*run\.dir"):
        trainer.run()
    with pytest.raises(CheckpointError, match=r"optim\.name \(was adam, is ranger\)"):
        Trainer(small_config(f"run.dir={tmp_path / 'run'}", "run.steps=2", "optim.name=ranger"), ALONE).run()


def test_weights_say_beside_which_networks_they_were_trained(tmp_path, small_config, monkeypatch):
    folder = tmp_path / "run"
    assert Trainer(small_config(f"run.dir={folder}", "run.steps=1"), ALONE).run() == 0
    monkeypatch.setattr("sdic.loading.fingerprint", lambda network: "0" * 64)
    with pytest.raises(CheckpointError, match="trained beside the generator"):
        sdic.load(folder, "cpu")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gradients_read_no_stray_memory(tmp_path, small_config, precision):
    """The same step gives the same gradient whatever lies about in memory (see sdic/fast/volumes.py)."""
    config = small_config(f"run.dir={tmp_path / 'run'}", f"precision={precision}")
    trainer = Trainer(config, ALONE)
    stack, network = trainer.stack, trainer.stack.compensator.eval()
    photo = torch.tanh(torch.randn(2, 3, *stack.geometry.input_size))
    gradients = []
    for _ in range(6):
        litter = [
            torch.full((size,), float("inf")) for size in (500, 4096, 20_000, 200_000, 1_000_000) for _ in range(8)
        ]
        del litter
        terms = training_step(stack, network, trainer.loss, Batch(photo, ["a", "b"]), precision=precision)
        gradients.append(torch.autograd.grad(terms["loss"], list(network.parameters())))
    for again in gradients[1:]:
        assert all(torch.equal(got, expected) for got, expected in zip(again, gradients[0], strict=True))


@pytest.mark.parametrize("cache", ["off", "first_pass"])
def test_half_precision_trains(tmp_path, small_config, cache):
    config = small_config(f"run.dir={tmp_path / 'run'}", "run.steps=2", "precision=bf16", f"data.cache={cache}")
    assert Trainer(config, ALONE).run() == 0
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines(tmp_path / "run"))


def test_a_refined_run_starts_from_the_dicn_of_a_plain_one(tmp_path, small_config):
    plain = small_config(f"run.dir={tmp_path / 'plain'}", "run.steps=1", "model.map=difference")
    assert Trainer(plain, ALONE).run() == 0
    start = next((tmp_path / "plain" / "checkpoints").glob("*.safetensors"))
    words = (f"run.dir={tmp_path / 'refined'}", "run.steps=1", f"model.start={start}")
    trainer = Trainer(small_config(*words, "model.map=refined"), ALONE)
    held = read_bundle(start).networks["dicn"].state_dict()
    for name, tensor in trainer.stack.compensator.dicn.state_dict().items():
        assert torch.equal(tensor, held[name]), name
    assert trainer.run() == 0
    assert sdic.load(tmp_path / "refined", "cpu").compensator.dipn.config.map == "refined"
    with pytest.raises(ConfigError, match=r"model\.map is predicted and the file has difference"):
        Trainer(small_config(*words), ALONE)
