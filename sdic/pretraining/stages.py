"""The stages by name. A new one is a class and a line here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdic.config import load_config
from sdic.errors import UnknownNameError
from sdic.pretraining.adversarial import AdversarialStage
from sdic.pretraining.attributes import AttributesStage
from sdic.pretraining.config import (
    AdversarialConfig,
    AttributesConfig,
    EncoderConfig,
    IdentityConfig,
    SupervisedConfig,
)
from sdic.pretraining.encoder import EncoderStage
from sdic.pretraining.identity import IdentityStage
from sdic.pretraining.stage import Stage
from sdic.pretraining.supervised import SupervisedStage


@dataclass(frozen=True)
class StageKind:
    """Its class, its settings, and the file that its result is called after."""

    stage: type[Stage]
    config: type


STAGES: dict[str, StageKind] = {
    "attributes": StageKind(AttributesStage, AttributesConfig),
    "identity": StageKind(IdentityStage, IdentityConfig),
    "generator-supervised": StageKind(SupervisedStage, SupervisedConfig),
    "generator": StageKind(AdversarialStage, AdversarialConfig),
    "encoder": StageKind(EncoderStage, EncoderConfig),
}
"""What is trained step by step, in the order in which one needs the other."""


def build_stage(name: str, config: str | None, overrides: Sequence[str] = ()) -> Stage:
    """A stage from its YAML file and settings; UnknownNameError lists the known ones, ConfigError as `load_config`."""
    if name not in STAGES:
        raise UnknownNameError("stage", name, STAGES)
    kind = STAGES[name]
    settings: Any = load_config(kind.config, config, overrides)
    return kind.stage(settings)
