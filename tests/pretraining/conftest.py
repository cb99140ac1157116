"""Tiny stages that run in seconds, and the files they make for each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdic.config import load_config
from sdic.pretraining.loop import train
from sdic.pretraining.stage import Stage
from sdic.pretraining.stages import STAGES, build_stage

CONFIGS = Path(__file__).parent.parent.parent / "configs" / "portraits"


class Workshop:
    """Debug stages below one folder."""

    def __init__(self, root: Path):
        self.root = root

    def file(self, stage: str, run: str = "") -> Path:
        return self.root / (run or stage) / "result" / f"{stage}.safetensors"

    def words(self, stage: str, run: str = "") -> list[str]:
        words = [f"run.dir={self.root / (run or stage)}"]
        words.append(f"data.cache={self.root / 'cache'}")
        needs = {
            "generator": [("attributes", "attributes"), ("model.start", "generator-supervised")],
            "encoder": [("generator", "generator"), ("attributes", "attributes"), ("identity", "identity")],
        }
        return words + [f"{key}={self.file(name)}" for key, name in needs.get(stage, [])]

    def stage(self, stage: str, *settings: str, run: str = "") -> Any:
        return build_stage(stage, str(CONFIGS / f"{stage}_debug.yaml"), [*self.words(stage, run), *settings])

    def prepared(self, stage: str, *settings: str) -> Any:
        built = self.stage(stage, *settings, run=f"{stage}-unused")
        built.prepare(0.0, lambda message: None)
        return built


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A workshop in which every stage has been run once, in order."""
    shop = Workshop(tmp_path_factory.mktemp("pretraining"))
    for name in STAGES:
        assert train(shop.stage(name))
    return shop


@pytest.fixture(scope="session")
def config_of() -> Callable[[str], Any]:
    return lambda stage: load_config(STAGES[stage].config, CONFIGS / f"{stage}_debug.yaml")


__all__ = ["Stage", "Workshop"]
