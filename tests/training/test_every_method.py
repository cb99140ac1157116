"""Every method that trains, by the registry: the loss falls, and a run that was stopped ends as one that was not."""

import json

import pytest
import torch

from sdic.config import load_config
from sdic.methods import METHODS
from sdic.training.distributed import World
from sdic.training.loop import Trainer
from sdic.training.task import find_task
from sdic.zoo import MODELS

TRAINED = [name for name, kind in METHODS.items() if kind.trains]
WORDS = [
    *("run.tensorboard=false", "run.pictures=0", "run.save_every=4", "run.log_every=4", "device=cpu"),
    *("data.source=synthetic", "data.limit=2", "data.flip=false", "data.workers=0", "model.frozen=tiny"),
    *("loss.lpips=0", "loss.id=0", "loss.id_network=none", "loss.edit=0", "validation.every=0"),
    *("optim.name=adam", "optim.lr=1e-3", "optim.batch=2", "optim.clip=1"),
]


def trainer(method, folder, images, *words):
    """A small run of a method."""
    entry = find_task(method)
    sizes = [f"model.{name}={json.dumps(value)}" for name, value in METHODS[method].tiny.items()]
    if METHODS[method].trained_after:  # the tiny stack of SDIC has no networks of the method before
        sizes.append(
            f"model.frozen={next(c.name for c in MODELS.values() if (c.method, c.domain) == (method, 'tiny'))}"
        )
    config = load_config(entry.config, None, [*WORDS, *sizes, f"run.dir={folder}", f"run.images={images}", *words])
    return Trainer(entry.task(config, World(0, 1, torch.device("cpu"))))


@pytest.mark.parametrize("method", TRAINED)
def test_the_loss_falls(method, tmp_path):
    assert trainer(method, tmp_path / "run", 40, "run.save_every=0").run() == 0
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == 10
    assert losses[-1] < 0.9 * losses[0], losses


CRITIC = (
    "loss.critic=0.1",
    "loss.offsets=1e-3",
    "loss.pool=4",
    "model.progressive_from=4",
    "model.progressive_every=2",
)


ADVERSARIAL = (
    "loss.adversarial=0.01",
    "loss.adversarial_from=4",
    "loss.discriminator_channels=8",
    "loss.discriminator_r1_every=2",
)


@pytest.mark.parametrize(
    ("method", "words"), [*((name, ()) for name in TRAINED), ("restyle", CRITIC), ("sfe-inverter", ADVERSARIAL)]
)
def test_a_stopped_run_ends_as_one_that_was_not(method, words, tmp_path):
    straight, broken = tmp_path / "straight" / "run", tmp_path / "broken" / "run"
    words = (*words, "optim.ema_images=5", "model.noise=random", "run.on_nan=skip")
    assert trainer(method, straight, 10, *words).run() == 0
    begun = trainer(method, broken, 10, *words)
    after = begun._after_step

    def stops():
        after()
        if begun.progress.steps == 3:
            begun.stop.signal = 15  # SIGTERM

    begun._after_step = stops
    assert begun.run() == 0
    assert begun.progress.images in (6, 8)
    assert trainer(method, broken, 10, *words).run() == 0
    for name in ("metrics.jsonl", "checkpoints/weights-00000010.safetensors"):
        assert (broken / name).read_bytes() == (straight / name).read_bytes(), name
