"""A domain is one entry: its pictures, trainings and build are found through it alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from sdic import domains
from sdic.cli import main
from sdic.data.samples import SamplesConfig, SampleSet
from sdic.data.samples import open_samples as open_any
from sdic.domains import DOMAINS, Domain
from sdic.errors import UnknownNameError
from sdic.training.task import _TASKS, Entry, find_task
from sdic.types import Geometry

ORDER = ("dots",)


def Plan(*folders: Any, **settings: Any) -> Any:  # noqa: N802 - called as a class is
    return folders


def open_samples(config: SamplesConfig, count: int, device: torch.device, *rest: Any) -> SampleSet:
    pictures = torch.zeros(count, 3, config.resolution, config.resolution, dtype=torch.uint8)
    return SampleSet(pictures, torch.ones(count, 1))


def entries() -> dict[str, Entry]:
    return {"count-dots": Entry(SamplesConfig, None, "a task of the domain")}


def build(plan: Any, stages: Any) -> bool:
    return stages == ORDER


@pytest.fixture
def dots() -> Iterator[None]:
    here = {"samples": __name__, "tasks": __name__, "build": __name__}
    domains.register(Domain("dots", Geometry(16, (16, 16)), **here))
    yield
    del DOMAINS["dots"]
    _TASKS.pop("count-dots", None)


def test_one_entry_is_enough(dots: None) -> None:
    samples = open_any(SamplesConfig("dots", resolution=16), 3, torch.device("cpu"), {})
    assert samples.labels.shape == (3, 1)
    assert find_task("count-dots").config is SamplesConfig
    assert main(["build", "dots", "--device", "cpu"]) == 0


def test_a_domain_that_is_not_drawn_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data\.source 'face'; known: .*portraits"):
        SamplesConfig("face")
    assert main(["build", "portrait"]) == 2
    assert "unknown domain to build 'portrait' (did you mean 'portraits'?)" in capsys.readouterr().err
