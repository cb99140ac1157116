"""Two processes with half the batch each compute what one does with the whole batch."""

import json

import pytest
import torch
from training_processes import DEBUG, REPOSITORY, SMALL, run_processes


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


GAN = REPOSITORY / "configs" / "portraits" / "generator_debug.yaml"


def trained_gan(tmp_path, size, batch):
    """The weights of a StyleGAN2 after two steps of all its phases, and its metrics."""
    folder = tmp_path / f"{size}-{batch}"
    # With a large eps Adam's step is a multiple of the gradient: float32 rounding stays rounding.
    words = [f"run.dir={folder}", f"data.cache={tmp_path / 'cache'}", f"run.images={2 * batch}", f"optim.batch={batch}"]
    words += ["optim.eps=1", "optim.lr=0.01", "r1_every=1", "path_every=1", "run.log_every=1", "run.pictures=0"]
    words += ["data.count=32", "run.save_every=0"]
    assert run_processes(GAN, words, size, task="generator") == [0] * size
    weights, lines = final(folder, 2 * batch)
    return weights, [line for line in lines if line["kind"] == "train"]


def gap(one, other):
    """The largest difference of the weights' changes, over their largest size."""
    return max(float((one[name] - other[name]).abs().max() / (one[name].abs().max() + 1e-3)) for name in one)


def test_two_processes_equal_one_for_a_task_of_several_phases(tmp_path):
    """Random codes, mixing, noise and path lengths are rows of one draw, whoever computes them."""
    (one, lines), (two, lines2) = (trained_gan(tmp_path, size, 8) for size in (1, 2))
    assert gap(one, two) < 2e-5
    for line, line2 in zip(lines, lines2, strict=True):
        assert line.pop("kind") == line2.pop("kind")
        for name, value in line.items():
            assert value == pytest.approx(line2[name], rel=1e-3, abs=1e-5), name


def test_and_four_pictures_share_no_deviation_over_two_processes_so_it_can_fail(tmp_path):
    # The discriminator compares groups of four: of four pictures, each of two processes has only two.
    one, two = (trained_gan(tmp_path, size, 4)[0] for size in (1, 2))
    assert gap(one, two) > 1e-4
