"""A run small enough to be repeated: the debug stack without its largest module, one thread."""

import pytest
import torch
from training_processes import DEBUG, SMALL


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_config():
    """Words -> the config of a small run."""
    from sdic.config import load_config
    from sdic.training.task import find_task

    schema = find_task("sdic").config
    return lambda *words: load_config(schema, DEBUG, [*SMALL, *map(str, words)])


@pytest.fixture
def task_of(small_config):
    """Words -> the task of a small run, alone on the CPU."""
    from sdic.training.distributed import World
    from sdic.training.tasks.inverter import InverterTask

    return lambda *words: InverterTask("sdic", small_config(*words), World(0, 1, torch.device("cpu")))
