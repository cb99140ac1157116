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
    from sdic.training.config import TrainConfig

    return lambda *words: load_config(TrainConfig, DEBUG, [*SMALL, *map(str, words)])
