"""Whole runs: they learn, they stop when asked, they survive bad steps, they leave what they promise."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from training_processes import DEBUG, REPOSITORY, SMALL, small_trainer

import sdic
from sdic.checkpoints import read_bundle
from sdic.data.dataset import Batch, PictureDataset, collate
from sdic.data.synthetic import SyntheticSource
from sdic.errors import CheckpointError, ConfigError, SdicError
from sdic.training.distributed import World
from sdic.training.loop import Trainer, train
from sdic.training.task import find_task
from sdic.utils.tensors import fingerprint


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_overfits_eight_pictures_to_a_tenth_of_the_starting_loss(tmp_path):
    """The debug config as it is (all modules), eight pictures, fifty steps."""
    from sdic.config import load_config

    words = [f"run.dir={tmp_path / 'run'}", "run.images=100", "run.pictures=0", "validation.every=0", "run.log_every=0"]
    entry = find_task("sdic")
    config = load_config(entry.config, DEBUG, [*words, "run.tensorboard=false"])
    trainer = Trainer(entry.task(config, World(0, 1, torch.device("cpu"))))
    compensator = trainer.task.inverter.compensator

    def joint_loss(picture_set):
        photo = collate([picture_set[index] for index in range(8)]).photo
        for network in trainer.task.networks.values():
            network.train()
        kept = [buffer.clone() for buffer in compensator.buffers()]
        with torch.no_grad():
            inversion = trainer.task.inverter._invert(photo)
            output = trainer.task.geometry.at_input_size(inversion.image)
            value = trainer.task.terms(photo, output, inversion)["loss"].item()
        for buffer, value_before in zip(compensator.buffers(), kept, strict=True):
            buffer.copy_(value_before)
        return value

    pictures = [f"data-{index:05d}" for index in range(8)]
    dataset = PictureDataset(SyntheticSource(8, prefix="data"), pictures, trainer.task.geometry)
    frozen = dict(trainer.task.hashes)
    before = joint_loss(dataset)
    assert trainer.run() == 0
    assert trainer.task.photos.dataset.names == pictures
    after = joint_loss(dataset)
    print(f"joint loss of the eight pictures: {before:.3f} -> {after:.3f}")
    assert after < before / 10
    assert {role: fingerprint(network) for role, network in trainer.task.frozen.items()} == frozen


def test_a_run_leaves_config_log_metrics_events_pictures_and_weights(tmp_path, trainer):
    folder = tmp_path / "run"
    words = ("run.images=8", "run.save_every=2", "run.keep_last=2", "run.pictures=2", "run.pictures_every=8")
    words = (f"run.dir={folder}", *words, "validation.every=4", "run.tensorboard=true", "optim.ema_images=2")
    assert trainer(*words, "data.workers=1").run() == 0
    assert {path.name for path in folder.iterdir()} > {"config.yaml", "log.txt", "metrics.jsonl", "pictures"}
    assert list(folder.glob("events.out.tfevents.*"))
    kept = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert kept == [
        "best.safetensors",
        *(f"state-0000000{images}.pt" for images in (6, 8)),
        *(f"weights-0000000{images}.safetensors" for images in (6, 8)),
    ]
    from PIL import Image

    with Image.open(folder / "pictures" / "00000008.png") as grid:
        assert grid.size == (5 * 64, 2 * 64)
    kinds = [(line["images"], line["kind"]) for line in lines(folder)]
    assert kinds == [(4, "train"), (4, "validation"), (8, "train"), (8, "validation")]
    first = lines(folder)[0]
    assert {"loss", "l2", "edit", "grad_norm"} <= set(first)
    assert first["loss"] == pytest.approx(first["l2"] + 0.05 * first["edit"], rel=1e-5)
    assert {"l2", "psnr", "ssim"} <= set(lines(folder)[1])
    # The same command again has nothing to do, and says so.
    assert trainer(*words, "data.workers=1").run() == 0
    assert [(line["images"], line["kind"]) for line in lines(folder)] == kinds

    state = torch.load(folder / "checkpoints" / "state-00000008.pt", weights_only=True)
    assert set(state["parts"]["networks"]) == {"dipn", "dicn"}  # nothing frozen
    inverter = sdic.load(folder, "cpu", optimize=False)
    assert (inverter.layer, inverter.domain) == (3, "tiny")
    assert inverter.invert(torch.zeros(1, 3, 64, 64)).image.shape == (1, 3, 64, 64)
    last = sdic.load(folder / "checkpoints/weights-00000008.safetensors", "cpu", optimize=False)
    for name, tensor in last.compensator.state_dict().items():
        role, key = name.split(".", 1)
        assert torch.equal(tensor, state["parts"]["averages"][role][key]), name


def test_sigterm_saves_and_the_same_command_goes_on(tmp_path):
    """The real command in a process of its own."""
    folder = tmp_path / "run"
    command = [sys.executable, str(REPOSITORY / "scripts/train.py"), "sdic", "--config", str(DEBUG), *SMALL]
    command += [f"run.dir={folder}", "run.images=2000", "run.log_every=2", "run.save_every=0"]
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
    assert lines(folder)[-1]["images"] == torch.load(states[0], weights_only=True)["progress"]["images"]


def poisoned(*words, picture="data-00003"):
    """A run in which any batch with this picture has a loss that is not a number."""
    run = small_trainer(*words)
    inner = run.task.parts

    def parts(phase, batch):
        for terms in inner(phase, batch):
            if picture in batch.names:
                terms["loss"] = terms["loss"] * float("nan")
                for buffer in run.task.inverter.compensator.buffers():
                    buffer.data.fill_(7)  # as if the bad batch had gone into the running statistics
            yield terms

    run.task.parts = parts
    return run


def test_a_step_that_is_not_finite_stops_the_run_and_names_its_pictures(tmp_path):
    run = poisoned(f"run.dir={tmp_path / 'run'}", "run.images=10")
    with pytest.raises(SdicError, match=r"not finite.*data-00003.*run\.on_nan=skip"):
        run.run()
    assert all(torch.isfinite(tensor).all() for tensor in run.task.inverter.compensator.state_dict().values())


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_or_it_is_left_out_and_nothing_of_it_stays(tmp_path, precision):
    run = poisoned(f"run.dir={tmp_path / 'run'}", "run.images=10", "run.on_nan=skip", f"precision={precision}")
    assert run.run() == 0
    text = (tmp_path / "run" / "log.txt").read_text()
    assert text.count("is not finite") >= 1
    assert "data-00003" in text
    state = run.task.inverter.compensator.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert not any((tensor == 7).all() for name, tensor in state.items() if "running" in name)
    if precision == "fp32":  # in fp16 the first steps may all overflow, and nothing is written
        assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines(tmp_path / "run"))


def test_dry_run_prints_config_sizes_and_memory_and_leaves_nothing(tmp_path, small_config, capsys):
    assert train(find_task("sdic"), small_config(f"run.dir={tmp_path / 'run'}", "device=cpu"), dry_run=True) == 0
    said = capsys.readouterr().out
    for word in ("lr: 0.002", "trains: dipn", "frozen: generator", "photos at 64x64", "memory a process, estimated"):
        assert word in said
    assert not (tmp_path / "run").exists()


def test_a_batch_that_cannot_be_shared_out_is_an_error(trainer):
    with pytest.raises(ConfigError, match=r"optim\.batch=2 cannot be split over 4 processes"):
        trainer(world=World(0, 4, torch.device("cpu")))


def test_resuming_beside_other_frozen_weights_or_another_model_is_an_error(tmp_path, trainer):
    run = trainer(f"run.dir={tmp_path / 'run'}", "run.images=2")
    assert run.run() == 0
    run.task.hashes["generator"] = "f" * 64
    with pytest.raises(CheckpointError, match=r"ffff.*run\.dir"):
        run.run()
    with pytest.raises(CheckpointError, match=r"optim\.name \(was adam, is ranger\)"):
        trainer(f"run.dir={tmp_path / 'run'}", "run.images=4", "optim.name=ranger").run()


def test_weights_say_beside_which_networks_they_were_trained(tmp_path, trainer, monkeypatch):
    folder = tmp_path / "run"
    assert trainer(f"run.dir={folder}", "run.images=2").run() == 0
    monkeypatch.setattr("sdic.bundles.fingerprint", lambda network: "0" * 64)
    with pytest.raises(CheckpointError, match="trained beside the generator"):
        sdic.load(folder, "cpu")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_gradients_read_no_stray_memory(tmp_path, trainer, precision):
    """The same step gives the same gradient whatever lies about in memory (see sdic/fast/volumes.py)."""
    task = trainer(f"run.dir={tmp_path / 'run'}", f"precision={precision}").task
    task.prepare(lambda: False)
    network = task.inverter.compensator.eval()
    photo = torch.tanh(torch.randn(2, 3, *task.geometry.input_size))
    gradients = []
    for _ in range(6):
        litter = [
            torch.full((size,), float("inf")) for size in (500, 4096, 20_000, 200_000, 1_000_000) for _ in range(8)
        ]
        del litter
        terms = task.loss("sdic", Batch(photo, ["a", "b"]))
        gradients.append(torch.autograd.grad(terms["loss"], list(network.parameters())))
    for again in gradients[1:]:
        assert all(torch.equal(got, expected) for got, expected in zip(again, gradients[0], strict=True))


@pytest.mark.parametrize("cache", ["off", "first_pass"])
def test_half_precision_trains(tmp_path, trainer, cache):
    words = (f"run.dir={tmp_path / 'run'}", "run.images=4", "precision=bf16", f"data.cache={cache}")
    assert trainer(*words).run() == 0
    assert all(torch.isfinite(torch.tensor(line["loss"])) for line in lines(tmp_path / "run"))


def test_a_refined_run_starts_from_the_dicn_of_a_plain_one(tmp_path, trainer):
    assert trainer(f"run.dir={tmp_path / 'plain'}", "run.images=2", "model.map=difference").run() == 0
    start = next((tmp_path / "plain" / "checkpoints").glob("*.safetensors"))
    words = (f"run.dir={tmp_path / 'refined'}", "run.images=2", f"model.start={start}")
    run = trainer(*words, "model.map=refined")
    held = read_bundle(start).networks["dicn"].state_dict()
    for name, tensor in run.task.networks["dicn"].state_dict().items():
        assert torch.equal(tensor, held[name]), name
    assert run.run() == 0
    assert sdic.load(tmp_path / "refined", "cpu").compensator.dipn.config.map == "refined"
    refined = next((tmp_path / "refined" / "checkpoints").glob("*.safetensors"))
    with pytest.raises(ConfigError, match=r"model\.map is predicted and the file has refined"):
        trainer(f"run.dir={tmp_path / 'predicted'}", f"model.start={refined}")


def test_the_map_is_learned_alone_before_the_rest(tmp_path, trainer):
    """loss.map alone: DIPN comes nearer to the plain difference, and DICN, of a difference run, stays as it is.

    The first run averages its weights, of which its DIPN has none."""
    averaged = ("model.map=difference", "optim.ema_images=4")
    assert trainer(f"run.dir={tmp_path / 'plain'}", "run.images=2", *averaged).run() == 0
    start = next((tmp_path / "plain" / "checkpoints").glob("*.safetensors"))
    words = ("loss.l2=0", "loss.lpips=0", "loss.id=0", "loss.edit=0", "loss.map=1", "run.log_every=2", "optim.lr=3e-3")
    run = trainer(f"run.dir={tmp_path / 'map'}", "run.images=24", f"model.start={start}", *words)
    assert run.run() == 0
    errors = [line["map"] for line in lines(tmp_path / "map") if "map" in line]
    assert errors[-1] < 0.8 * errors[0]
    held = read_bundle(start).networks["dicn"]
    for name, parameter in run.task.networks["dicn"].named_parameters():
        assert torch.equal(parameter, held.get_parameter(name)), name
    with pytest.raises(ConfigError, match=r"all 0"):
        trainer(f"run.dir={tmp_path / 'none'}", *words[:4], "loss.map=0")
