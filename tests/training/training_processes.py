"""Training runs in processes of their own, which may be killed. Imported by the tests and by the processes."""

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import torch

from sdic.config import load_config
from sdic.training.distributed import World, join
from sdic.training.loop import Trainer
from sdic.training.task import find_task

REPOSITORY = Path(__file__).resolve().parents[2]
DEBUG = REPOSITORY / "configs" / "train" / "debug.yaml"
SMALL = (
    "model.spatial_contextual=false",
    "run.tensorboard=false",
    "run.pictures=0",
    "run.log_every=4",
    "run.save_every=6",
    "validation.every=0",
    "data.limit=5",
    "data.flip=true",
)


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "torch._dynamo",
        "sdic.training.loop",
        "sdic.training.tasks.inverter",
        "pytorch_optimizer",
        "ranger21",
        "training_processes",
    ]
)


class MortalTrainer(Trainer):
    """Dies after the step `die_at`, before anything of it is written down."""

    die_at, die_of = 0, signal.SIGKILL

    def step(self, batches):
        super().step(batches)
        if self.progress.steps == self.die_at:
            os.kill(os.getpid(), self.die_of)


def small_trainer(*words, world=None, kind=Trainer):
    """A run small enough to be repeated, alone on the CPU if not told otherwise."""
    entry = find_task("sdic")
    config = load_config(entry.config, DEBUG, [*SMALL, *map(str, words)])
    return kind(entry.task(config, world or World(0, 1, torch.device("cpu"))))


def in_double(task):
    """Let a task compute in double precision."""
    for network in (*task.networks.values(), *task.frozen.values()):
        network.double()
    inner = task.parts

    def parts(phase, batch):
        batch.photo = batch.photo.double()
        yield from inner(phase, batch)

    task.parts = parts
    task.export = lambda folder, networks, about: []  # users invert in float32


def _child(name, config_path, words, rank, size, port, die_at, die_of, double):
    torch.set_num_threads(1)
    if size > 1:
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
        )
    world = join("cpu")
    entry = find_task(name)
    trainer = MortalTrainer(entry.task(load_config(entry.config, config_path, words), world))
    trainer.die_at, trainer.die_of = die_at, signal.Signals[die_of]
    if double:
        in_double(trainer.task)
    code = trainer.run()
    world.close()
    os._exit(code)


def run_processes(config_path, words, size=1, die_at=0, double=False, task="sdic", die_of="SIGKILL"):
    """Train in `size` processes; the exit code of each (-9 for a killed one)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [
        CONTEXT.Process(target=_child, args=(task, config_path, list(words), rank, size, port, die_at, die_of, double))
        for rank in range(size)
    ]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    codes = [child.exitcode for child in children]
    for child in children:
        if child.exitcode is None:
            child.kill()
    return codes
