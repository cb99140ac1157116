"""Two processes with half the batch each compute what one does with the whole batch."""

import json

import pytest
import torch
from training_processes import DEBUG, SMALL, run_processes


def final(folder, images):
    state = torch.load(folder / "checkpoints" / f"state-{images:08d}.pt", weights_only=True)
    networks = state["parts"]["networks"]
    weights = {f"{role}.{name}": tensor for role, part in networks.items() for name, tensor in part.items()}
    return weights, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def compare(one, other):
    (weights, lines), (weights2, lines2) = one, other
    for name, tensor in weights.items():
        assert torch.allclose(tensor, weights2[name], rtol=1e-8, atol=1e-10), name
    for line, line2 in zip(lines, lines2, strict=True):
        assert line.pop("kind") == line2.pop("kind")
        assert line == pytest.approx(line2, rel=1e-6)  # what is written down went through float32


@pytest.mark.parametrize("batchnorm", ["sync", "frozen"])
def test_two_processes_equal_one(tmp_path, batchnorm):
    # In double precision, where the order of sums does not matter: what differs then is the method.
    words = [*SMALL, "run.images=4", "optim.batch=2", f"optim.batchnorm={batchnorm}", "optim.name=ranger"]
    results = []
    for size in (1, 2):
        folder = tmp_path / str(size)
        assert run_processes(DEBUG, [*words, f"run.dir={folder}"], size, double=True) == [0] * size
        results.append(final(folder, 4))
    compare(*results)


def test_local_statistics_differ_so_the_comparison_can_fail(tmp_path):
    words = [*SMALL, "run.images=2", "optim.batch=2", "optim.batchnorm=local"]
    results = []
    for size in (1, 2):
        folder = tmp_path / str(size)
        assert run_processes(DEBUG, [*words, f"run.dir={folder}"], size, double=True) == [0] * size
        results.append(final(folder, 2))
    with pytest.raises(AssertionError):
        compare(*results)


def test_accumulated_micro_batches_equal_one_batch(tmp_path):
    words = [*SMALL, "run.images=4", "optim.batch=2", "optim.batchnorm=frozen", "optim.name=adam"]
    results = []
    for parts in (1, 2):
        folder = tmp_path / str(parts)
        assert run_processes(DEBUG, [*words, f"run.dir={folder}", f"optim.accumulate={parts}"], double=True) == [0]
        results.append(final(folder, 4))
    compare(*results)
