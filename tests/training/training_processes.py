"""Training runs in processes of their own, which may be killed. Imported by the tests and by the processes."""

import multiprocessing
import os
import signal
import socket
from pathlib import Path

import torch

from sdic.config import load_config
from sdic.training.config import TrainConfig
from sdic.training.distributed import join
from sdic.training.trainer import Trainer

REPOSITORY = Path(__file__).resolve().parents[2]
DEBUG = REPOSITORY / "configs" / "train" / "debug.yaml"
SMALL = (
    "model.spatial_contextual=false",
    "run.tensorboard=false",
    "run.pictures=0",
    "run.log_every=2",
    "run.save_every=3",
    "validation.every=0",
    "data.limit=5",
    "data.flip=true",
)


CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["torch._dynamo", "sdic.training.trainer", "pytorch_optimizer", "ranger21", "training_processes"]
)


class MortalTrainer(Trainer):
    """Dies after the optimiser step `die_at`, before anything of it is written down; computes in double if asked to."""

    die_at = 0
    double = False

    def optimise(self, batches):
        super().optimise(batches)
        if self.progress.step == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def _forward(self, batch):
        if self.double:
            batch.photo = batch.photo.double()
        return super()._forward(batch)


def _child(config_path, words, rank, size, port, die_at, double):
    torch.set_num_threads(1)
    if size > 1:
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(size), LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
        )
    world = join("cpu")
    trainer = MortalTrainer(load_config(TrainConfig, config_path, words), world)
    trainer.die_at, trainer.double = die_at, double
    if double:
        for network in (trainer.stack.generator, trainer.stack.encoder, trainer.stack.compensator):
            network.double()
    code = trainer.run()
    world.close()
    os._exit(code)


def run_processes(config_path, words, size=1, die_at=0, double=False):
    """Train in `size` processes; the exit code of each (-9 for a killed one)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [
        CONTEXT.Process(target=_child, args=(config_path, list(words), rank, size, port, die_at, double))
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
