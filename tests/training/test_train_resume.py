"""A killed run, started again, writes what an uninterrupted one writes: bit for bit, metrics and weights."""

import pytest
import torch
from training_processes import DEBUG, SMALL, run_processes

IMAGES = 14


def words(folder, optimizer):
    between = ["run.pictures=1", "run.pictures_every=8", "validation.every=8", "validation.limit=2"]
    between.append("validation.metrics=[l2,psnr]")
    return [*SMALL, f"run.dir={folder}", f"run.images={IMAGES}", f"optim.name={optimizer}", "optim.ema_images=13", *between]


def tensors(value, path=""):
    """Every tensor and number in nested containers."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{path}/{key}")
    elif isinstance(value, list | tuple):
        for key, item in enumerate(value):
            yield from tensors(item, f"{path}/{key}")
    else:
        yield path, value


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("optimizer", ["ranger", "ranger21", "adam", "soap"])
def test_kill_and_resume_equals_an_uninterrupted_run(tmp_path, optimizer, size):
    straight, broken = tmp_path / "straight" / "run", tmp_path / "broken" / "run"
    assert run_processes(DEBUG, words(straight, optimizer), size) == [0] * size
    # Killed at step 5: the last state is of step 3, in the middle of a line of metrics (2 steps), of Lookahead (5 or 6).
    assert run_processes(DEBUG, words(broken, optimizer), size, die_at=5) == [-9] * size
    states = sorted(path.name for path in (broken / "checkpoints").glob("state-*"))
    assert states == ["state-00000006.pt"]
    assert (broken / "metrics.jsonl").read_text().count("\n") == 3  # two lines more than the state knows
    assert run_processes(DEBUG, words(broken, optimizer), size) == [0] * size

    assert (broken / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()
    weights = f"checkpoints/weights-{IMAGES:08d}.safetensors"
    assert (broken / weights).read_bytes() == (straight / weights).read_bytes()
    ours, theirs = (
        dict(tensors(torch.load(folder / "checkpoints" / f"state-{IMAGES:08d}.pt", weights_only=True)))
        for folder in (broken, straight)
    )
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, theirs[key]), key
        elif key != "/config/run/dir":
            assert value == theirs[key], key
