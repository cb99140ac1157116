"""What is found in the cache is what would have been computed, exactly."""

import pytest
import torch

from sdic.data.dataset import PictureDataset, collate
from sdic.data.sampler import View
from sdic.data.sources import Request, open_source
from sdic.errors import ConfigError
from sdic.training.cache import FirstPassCache, fill

CPU = torch.device("cpu")


@pytest.fixture
def setup(trainer):
    inverter = trainer().task.inverter
    source, names, _ = open_source(Request("synthetic", "", limit=3))
    return inverter, PictureDataset(source, names, inverter.geometry)


MODES = {"codes": ("latent",), "first_pass": ("latent", "initial")}


def first_pass(cache, inverter, batch):
    return inverter.frozen_pass(batch.photo, cache.complete(inverter, batch))


@pytest.mark.parametrize("mode", ["codes", "first_pass"])
def test_a_hit_equals_a_miss(tmp_path, setup, mode):
    stack, dataset = setup
    cache = FirstPassCache(tmp_path, MODES[mode])
    views = [View(0, False), View(1, True)]
    missed = first_pass(cache, stack, collate([dataset[view] for view in views]))
    fill(cache, stack, [collate([dataset[views[1]]])], CPU, lambda: False)  # one of the two
    cache.reload()
    dataset.lookup = cache.find
    batch = collate([dataset[view] for view in views])
    assert [entry is not None for entry in batch.stored] == [False, True]
    found = first_pass(cache, stack, batch)
    assert set(found) == {"latent", "feature", "initial"}
    assert all(torch.equal(found[name], missed[name]) for name in missed)


def test_codes_are_kept_unrounded_and_pictures_to_float16(tmp_path, setup):
    stack, dataset = setup
    batch = collate([dataset[0]])
    plain = stack.frozen_pass(batch.photo)
    stored = first_pass(FirstPassCache(tmp_path, MODES["first_pass"]), stack, batch)
    assert torch.equal(stored["latent"], plain["latent"])
    assert torch.equal(stored["feature"], plain["feature"])
    assert torch.equal(stored["initial"], plain["initial"].half().float())


def test_an_interrupted_build_goes_on(tmp_path, setup):
    stack, dataset = setup
    batches = [collate([dataset[View(index, False)]]) for index in range(3)]
    cache = FirstPassCache(tmp_path, MODES["codes"])
    answers = iter([False, True])
    assert fill(cache, stack, batches, CPU, lambda: next(answers)) == 2
    cache.reload()
    assert len(cache) == 2
    assert fill(cache, stack, batches, CPU, lambda: False) == 1
    cache.reload()
    assert len(cache) == 3
    assert len(FirstPassCache(tmp_path, MODES["codes"])) == 3
    assert fill(cache, stack, batches, CPU, lambda: False) == 0


def test_other_weights_have_another_folder(tmp_path, setup):
    stack, _ = setup
    hashes = {"generator": "1" * 64, "encoder": "2" * 64}
    first = FirstPassCache.of(tmp_path, "codes", stack, hashes).folder
    assert FirstPassCache.of(tmp_path, "codes", stack, {**hashes, "encoder": "0" * 64}).folder != first


def test_random_noise_and_a_cache_contradict_each_other(small_config):
    with pytest.raises(ConfigError, match=r"data\.cache=first_pass.*model\.noise"):
        small_config("data.cache=first_pass", "model.noise=random")


def test_a_run_with_a_full_cache_equals_one_that_never_finds_anything(tmp_path, trainer, monkeypatch):
    lines = []
    for name, find in (("full", None), ("blind", lambda self, digest: None)):
        words = (f"run.dir={tmp_path / name}", "run.images=4", "data.cache=first_pass")
        if find is not None:
            monkeypatch.setattr(FirstPassCache, "find", find)
        assert trainer(*words).run() == 0
        lines.append((tmp_path / name / "metrics.jsonl").read_text())
    assert lines[0] == lines[1]
    assert "filling the cache" in (tmp_path / "full" / "log.txt").read_text()
    assert "filling the cache" not in (tmp_path / "blind" / "log.txt").read_text()  # complete: it need not look


def test_damaged_shards_and_entries_are_named_and_computed_anew(tmp_path, trainer):
    """One shard cut short, one with a flipped byte: the numbers stay those of a whole cache."""
    words = ("run.images=4", "data.cache=first_pass", f"data.cache_dir={tmp_path / 'cache'}", "data.flip=false")
    assert trainer(*words, f"run.dir={tmp_path / 'whole'}").run() == 0
    (shard,) = (tmp_path / "cache").rglob("*.safetensors")
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # the last number of the last picture
    cut = shard.with_name("0.safetensors")
    cut.write_bytes(content[: len(content) // 2])
    assert trainer(*words, f"run.dir={tmp_path / 'damaged'}").run() == 0
    metrics = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "damaged")]
    assert metrics[0] == metrics[1]
    said = (tmp_path / "damaged" / "log.txt").read_text()
    assert said.count("0.safetensors is damaged") == 1
    assert said.count("is damaged; it is computed anew") == 1
    assert not cut.exists()
