"""How a GPU computes is decided in one place, by one rule. No GPU is needed to see what is set."""

import re
from pathlib import Path

import pytest
import torch

import sdic
from sdic.cli import main
from sdic.errors import ConfigError
from sdic.training.distributed import join
from sdic.utils.tensors import resolve_device

PACKAGE = Path(__file__).parent.parent / "sdic"
SWITCHES = re.compile(r"allow_tf32|float32_matmul_precision|fp32_precision|cudnn\.\w+ =|deterministic_algorithms")


def switches():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    return matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark


@pytest.fixture(autouse=True)
def _undone():
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = switches()
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = True, True, False
    yield
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before


@pytest.fixture
def gpu(monkeypatch):
    """A machine that says it has two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize("name", ["auto", "cuda", "cuda:1", torch.device("cuda")])
def test_fp32_on_a_gpu_is_float32(gpu, name):
    assert resolve_device(name).type == "cuda"
    assert switches() == (False, False, False)


def test_trainings_let_cudnn_choose_and_inference_does_not(gpu, tmp_path):
    assert join("cuda").device.type == "cuda"
    assert switches() == (False, False, True)
    resolve_device("cuda")
    assert switches() == (False, False, False)


def test_a_cpu_changes_nothing():
    assert resolve_device("cpu") == torch.device("cpu")
    assert switches() == (True, True, False)


def test_the_switches_are_set_in_one_place():
    files = [path for path in PACKAGE.rglob("*.py") if SWITCHES.search(path.read_text())]
    assert [str(path.relative_to(PACKAGE)) for path in files] == ["utils/tensors.py"]


@pytest.mark.parametrize(("name", "message"), [("nonsense", "does not exist"), ("cuda:2", "finds 2"), ("mps", "mps")])
def test_a_device_that_is_not_there_is_an_error(gpu, name, message):
    if name == "mps" and torch.backends.mps.is_available():
        pytest.skip("has one")
    with pytest.raises(ConfigError, match=message):
        resolve_device(name)
    with pytest.raises(ConfigError, match=message):
        sdic.load("tiny", name)


def test_the_commands_say_so_in_a_line(tmp_path, capsys):
    words = [
        "--config",
        str(PACKAGE.parent / "configs/train/debug.yaml"),
        f"run.dir={tmp_path / 'run'}",
        "device=nonsense",
    ]
    assert main(["train", "sdic", *words]) == 2
    assert "device 'nonsense' does not exist" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
