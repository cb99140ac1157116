"""A training of the toy that is killed: `python -m tests.toy_method.killed STEP key=value ...`."""

import os
import signal
import sys

import torch

import tests.toy_method.known  # noqa: F401 - makes the method known
from sdic.config import load_config
from sdic.training.distributed import World
from sdic.training.loop import Trainer
from sdic.training.task import find_task
from tests.toy_method.test_toy_method import CONFIG


class MortalTrainer(Trainer):
    """Dies after a step, before anything of it is written down."""

    def step(self, batches: object) -> None:
        super().step(batches)  # type: ignore[arg-type]
        if self.progress.steps == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    torch.set_num_threads(1)
    entry = find_task("toy")
    MortalTrainer(entry.build(load_config(entry.config, CONFIG, sys.argv[2:]), World(0, 1, torch.device("cpu")))).run()
