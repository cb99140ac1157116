"""Validation: damaged pictures are left out and named, and what is not finite is never the best."""

import json
import math

import pytest

from sdic.data.synthetic import SyntheticSource
from sdic.training.task import improves


def write_pictures(folder, indices):
    folder.mkdir()
    source = SyntheticSource(5, prefix="held")
    for index in indices:
        source.read(source.names[index]).resize((300, 300)).save(folder / f"{index}.png")
    return folder


def validations(run):
    assert run.run() == 0
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == "validation"]


def test_a_damaged_picture_is_left_out_and_named_and_the_mean_is_over_the_others(tmp_path, trainer):
    words = ("run.images=4", "validation.every=2", "validation.source=folder", "run.pictures=3", "run.pictures_every=4")
    words = (*words, "validation.metrics=[l2,psnr]")
    damaged = write_pictures(tmp_path / "damaged", range(4))
    content = (damaged / "1.png").read_bytes()
    (damaged / "1.png").write_bytes(content[: len(content) // 2])  # its header is fine
    whole = write_pictures(tmp_path / "whole", (0, 2, 3))
    found = {
        path.name: validations(trainer(*words, f"validation.path={path}", f"run.dir={tmp_path / 'runs' / path.name}"))
        for path in (damaged, whole)
    }
    assert len(found["whole"]) == 2
    assert found["damaged"] == found["whole"]
    said = (tmp_path / "runs" / "damaged" / "log.txt").read_text()
    assert said.count("left out: 1.png") == 1
    pictures = [tmp_path / "runs" / name / "pictures" / "00000004.png" for name in found]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


@pytest.mark.parametrize("better", ["lower", "higher"])
def test_what_is_not_finite_is_worse_than_anything(better):
    for bad in (math.nan, math.inf, -math.inf):
        assert not improves(bad, None, better)
        assert not improves(bad, 0.5, better)
        assert improves(0.5, bad, better)
    assert improves(0.5, None, better)
    assert improves(0.25, 0.5, better) == (better == "lower")
    assert improves(0.75, 0.5, better) == (better == "higher")
    assert not improves(0.5, 0.5, better)


def test_a_first_validation_that_is_nan_does_not_stay_the_best(tmp_path, trainer, monkeypatch):
    words = ("run.images=6", "validation.every=2", "validation.limit=1", "validation.metrics=[l2]")
    run, values, steps = trainer(*words, f"run.dir={tmp_path / 'run'}"), iter([math.nan, 0.5, 0.75]), []
    best, real = tmp_path / "run" / "checkpoints" / "best.safetensors", run.task.evaluate

    def first_nan():
        steps.append(best.exists())
        return {**real(), "l2": next(values)}

    monkeypatch.setattr(run.task, "evaluate", first_nan)
    assert run.run() == 0
    assert steps == [False, False, True]
    assert run.progress.best == 0.5
    assert json.loads((tmp_path / "run" / "result" / "metrics.json").read_text())["l2"] == 0.5  # of what is exported
