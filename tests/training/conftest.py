"""A run small enough to be repeated: the debug stack without its largest module, one thread."""

import pytest
import torch
from training_processes import DEBUG, SMALL, small_trainer

from sdic.config import load_config


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_config():
    """Words -> the config of a small run."""
    from sdic.training.task import find_task

    return lambda *words: load_config(find_task("sdic").config, DEBUG, [*SMALL, *map(str, words)])


@pytest.fixture
def trainer():
    """Words -> a small run."""
    return small_trainer
