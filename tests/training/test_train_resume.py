"""A stopped run, started again, writes what an uninterrupted one writes: bit for bit, metrics, weights and state."""

import pytest
import torch
from training_processes import DEBUG, REPOSITORY, SMALL, run_processes

IMAGES = 14


def words(folder, optimizer):
    between = ["run.pictures=1", "run.pictures_every=8", "validation.every=8", "validation.limit=2"]
    between.append("validation.metrics=[l2,psnr]")
    return [
        *SMALL,
        f"run.dir={folder}",
        f"run.images={IMAGES}",
        f"optim.name={optimizer}",
        "optim.ema_images=13",
        *between,
    ]


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
    # Killed at step 5: the last state is of step 3, in the middle of a line of metrics (2 steps), of Lookahead.
    assert run_processes(DEBUG, words(broken, optimizer), size, die_at=5) == [-9] * size
    states = sorted(path.name for path in (broken / "checkpoints").glob("state-*"))
    assert states == ["state-00000006.pt"]
    assert (broken / "metrics.jsonl").read_text().count("\n") == 3  # two lines more than the state knows
    assert run_processes(DEBUG, words(broken, optimizer), size) == [0] * size

    same(broken, straight, IMAGES)


def same(broken, straight, images):
    """Two run folders hold the same numbers."""
    assert (broken / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()
    weights = f"checkpoints/weights-{images:08d}.safetensors"
    assert (broken / weights).read_bytes() == (straight / weights).read_bytes()
    ours, theirs = (
        dict(tensors(torch.load(folder / "checkpoints" / f"state-{images:08d}.pt", weights_only=True)))
        for folder in (broken, straight)
    )
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, theirs[key]), key
        elif key != "/config/run/dir":
            assert value == theirs[key], key


GAN = REPOSITORY / "configs" / "portraits" / "generator_debug.yaml"


def gan_words(folder, cache):
    words = [f"run.dir={folder}", f"data.cache={cache}", "run.images=24", "run.save_every=8", "run.log_every=12"]
    return [*words, "run.pictures=0", "evaluate=4"]


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("kind", ["inverter", "gan"])
def test_a_signal_in_any_step_changes_nothing(tmp_path, kind, end):
    """An inverter, and a task of four phases with an average, a running mean and lazy regularisers."""

    def run(folder, **options):
        if kind == "inverter":
            return run_processes(DEBUG, words(folder, "adam"), **options)
        return run_processes(GAN, gan_words(folder, tmp_path / "cache"), task="generator", **options)

    straight, broken = tmp_path / "straight" / "run", tmp_path / "broken" / "run"
    assert run(straight) == [0]
    assert run(broken, die_at=5, die_of=end) == ([-9] if end == "SIGKILL" else [0])
    saved = sorted(path.name for path in (broken / "checkpoints").glob("state-*"))
    batch, every = (2, 6) if kind == "inverter" else (4, 8)
    # Killed before step 5 is written down; asked to end, it saves what it has, after that step or the next.
    reached = 5 * batch // every * every if end == "SIGKILL" else 5 * batch
    assert int(saved[-1][6:14]) in (reached, reached + batch)
    assert run(broken) == [0]
    same(broken, straight, IMAGES if kind == "inverter" else 24)
