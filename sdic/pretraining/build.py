"""Everything from nothing: the stages in order, each resumed or skipped, and the files that ship.

The folder `out` gets, for every network: NAME.safetensors, NAME.yaml (its settings), NAME.json (what was measured),
NAME.log and NAME.png. What is there already is not made again; delete NAME.json to make NAME again.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from sdic import zoo
from sdic.checkpoints import copy_native, read_bundle
from sdic.config import load_config, to_yaml
from sdic.data.portraits import render, split_params
from sdic.data.portraits.write import write_split
from sdic.errors import SdicError, UnknownNameError
from sdic.loading import load
from sdic.methods.sdic import SDICInverter
from sdic.pretraining.bank import OutOfTimeError
from sdic.pretraining.config import DirectionsConfig
from sdic.pretraining.directions import find_directions
from sdic.pretraining.exporting import export, portable
from sdic.pretraining.loop import train
from sdic.pretraining.stages import build_stage
from sdic.training.config import ModelConfig, TrainConfig
from sdic.training.journal import read_records
from sdic.training.state_files import keeping, list_states, step_of
from sdic.training.trainer import train as train_sdic
from sdic.utils.files import sha256_of, write_atomic
from sdic.utils.tensors import resolve_device

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ORDER = ("pictures", "attributes", "identity", "generator-supervised", "generator", "encoder", "directions", "sdic")
LIMIT_MIB = 40.0
PICTURES = {"": (12_000, 500), "_64": (8_000, 300), "_debug": (8, 4)}  # for SDIC: training, validation
SIZES = {"": 128, "_64": 64, "_debug": 32}
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """variant: suffix of the configs ("", "_64", "_debug"). out: what ships. runs: run folders. editings: manifest's.
    minutes: wall-clock time of this call, 0 for none. device: as everywhere. settings: stage -> words key=value."""

    variant: str
    out: Path
    runs: Path
    editings: Path
    minutes: float = 0.0
    device: str = "auto"
    settings: dict[str, tuple[str, ...]] | None = None

    def __post_init__(self) -> None:
        if self.variant not in SIZES:
            raise UnknownNameError("variant", self.variant, SIZES)

    def config(self, name: str) -> Path:
        """The YAML file of a stage."""
        return REPOSITORY / "configs" / "portraits" / f"{name}{self.variant}.yaml"

    def file(self, name: str) -> Path:
        """The weights of a stage, where they ship, or in its run folder where they do not."""
        if name == "generator-supervised":
            return self.runs / name / "result" / f"{name}.safetensors"
        return self.out / f"{name}.safetensors"

    def words(self, name: str) -> list[str]:
        """The settings of a stage that follow from the plan, then those that the caller asked for."""
        words = {
            "attributes": [],
            "identity": [],
            "generator-supervised": [f"attributes={self.file('attributes')}"],
            "generator": [f"attributes={self.file('attributes')}", f"model.start={self.file('generator-supervised')}"],
            "encoder": [f"{role}={self.file(role)}" for role in ("generator", "attributes", "identity")],
        }[name]
        run = [f"run.dir={self.runs / name}", f"run.device={self.device}", f"data.cache={self.runs / 'cache'}"]
        return [*run, *words, *(self.settings or {}).get(name, ())]


def build(plan: Plan, stages: Sequence[str] = ORDER, say: Say = print) -> bool:
    """Run what is missing. False when `minutes` ended it before the end; the same call goes on."""
    for name in stages:
        if name not in ORDER:
            raise UnknownNameError("stage", name, ORDER)
    began = time.monotonic()
    for name in (known for known in ORDER if known in stages):
        if _done(plan, name):
            say(f"{name}: is there")
            continue
        left = plan.minutes - (time.monotonic() - began) / 60 if plan.minutes else 0.0
        if plan.minutes and left <= 0:
            say(f"{name}: not begun, the {plan.minutes:g} minutes are over; the same command goes on")
            return False
        say(f"{name}: begins")
        with keeping(plan.runs / name / "state"):
            made = _make(plan, name, left)
        if not made:
            return False
    say(describe(plan.out))
    return True


def describe(folder: Path) -> str:
    """Sizes of the weights in a folder, and their sum against LIMIT_MIB."""
    sizes = {path.name: path.stat().st_size / 2**20 for path in sorted(folder.glob("*.safetensors"))}
    lines = [f"{name:28s} {size:7.2f} MiB" for name, size in sizes.items()]
    total = sum(sizes.values())
    return "\n".join(
        [*lines, f"{'all':28s} {total:7.2f} MiB of {LIMIT_MIB:g}" + (" TOO MUCH" if total > LIMIT_MIB else "")]
    )


DRAWN_FOR = ("generator-supervised", "identity", "attributes")
"""Stages that need pictures of their own. In the reverse order of use, so that a process that does nothing but draw can
run beside one that trains, and the two meet in the middle."""


def _done(plan: Plan, name: str) -> bool:
    if name == "pictures":
        return all(_done(plan, other) for other in DRAWN_FOR)
    if name == "generator-supervised":  # needed by the next stage alone
        return plan.file(name).is_file() or plan.file("generator").is_file()
    return (plan.out / f"{name}.json").is_file()


def _make(plan: Plan, name: str, minutes: float) -> bool:
    if name == "pictures":
        return _pictures(plan, minutes)
    if name == "directions":
        return _directions(plan)
    if name == "sdic":
        return _sdic(plan)
    words = plan.words(name)
    if minutes:
        words.append(f"run.minutes={minutes:.3f}")
    stage = build_stage(name, str(plan.config(name)), words)
    if not train(stage):
        return False
    result, log = plan.runs / name / "result", plan.runs / name / "log.txt"
    if name == "generator-supervised":
        ship_record(plan, name, result, log)  # its weights are those that the next stage starts from
    else:
        ship(plan, name, result, log, {})
    return True


def ship(plan: Plan, name: str, result: Path, log: Path, source: Mapping[str, str]) -> None:
    """Copy a stage's result to where it ships.

    source: goes into the weights' header. Their hash is recorded beside them, in place of that of older weights.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    weights = plan.out / f"{name}.safetensors"
    copy_native(result / f"{name}.safetensors", weights, source)
    zoo.remember_sha256(weights, sha256_of(weights), replace=True)
    ship_record(plan, name, result, log)


def ship_record(plan: Plan, name: str, result: Path, log: Path) -> None:
    """Copy what tells of a stage: picture, settings, log, and last the metrics, as they say that all is there.

    Texts lose the absolute paths in them.
    """
    plan.out.mkdir(parents=True, exist_ok=True)
    if (result / "samples.png").is_file():
        shutil.copyfile(result / "samples.png", plan.out / f"{name}.png")
    for suffix, text in (("yaml", result / "config.yaml"), ("log", log), ("json", result / "metrics.json")):
        if text.is_file():
            write_atomic(plan.out / f"{name}.{suffix}", portable(text.read_text(encoding="utf-8", errors="replace")))


def _pictures(plan: Plan, minutes: float) -> bool:
    """Draw what the stages will want into the cache."""
    deadline = time.monotonic() + 60 * minutes if minutes else 0.0
    for name in DRAWN_FOR:
        words = plan.words(name)
        words = [word for word in words if not word.startswith("attributes=")]  # not needed for drawing
        try:
            build_stage(name, str(plan.config(name)), words).prepare(deadline, print)
        except OutOfTimeError as stop:
            print(f"pictures: {stop}; the same command goes on")
            return False
    return True


def _directions(plan: Plan) -> bool:
    words = [f"{role}={plan.file(role)}" for role in ("generator", "attributes")]
    words += [f"folder={plan.editings}", f"run.device={plan.device}", *(plan.settings or {}).get("directions", ())]
    config = load_config(DirectionsConfig, plan.config("directions"), words)
    report = find_directions(config)
    shutil.copyfile(plan.editings / config.domain / "sheet.png", plan.out / "directions.png")
    write_atomic(plan.out / "directions.yaml", portable(to_yaml(config)))
    write_atomic(plan.out / "directions.json", portable(json.dumps(report, indent=2)) + "\n")
    return True


def _sdic(plan: Plan) -> bool:
    """SDIC on portraits with details, by the trainer that everybody uses; in two runs where the variant has a config
    for the first, which trains DICN alone."""
    size, counts = SIZES[plan.variant], PICTURES[plan.variant]
    words = []
    for key, split, count in zip(("data", "validation"), ("inversion", "validation"), counts, strict=True):
        path = plan.runs / "pictures" / f"{split}-{size}.zip"
        write_split(split, path, count, size, device=resolve_device(plan.device))
        words.append(f"{key}.path={path}")
    logs, early = [], plan.runs / "sdic-difference"
    if plan.config(early.name).is_file():
        if _trained(plan, early.name, words) is None:
            return False
        words.append(f"model.start={_best(early)}")
        logs.append(early / "log.txt")
    config, folder = _trained(plan, "sdic", words), plan.runs / "sdic"
    if config is None:
        return False
    weights = _best(folder)
    logs.append(folder / "log.txt")
    result, step = folder / "result", int(read_bundle(weights).source["step"])
    rows, _ = read_records(folder / "metrics.jsonl")
    measured = [row for row in rows if row["kind"] == "validation" and row["step"] == step]
    if not measured:
        raise SdicError(f"{folder}: metrics.jsonl has no validation of step {step}, when the best weights were kept")
    write_atomic(result / "config.yaml", to_yaml(config))
    write_atomic(result / "metrics.json", json.dumps(measured[-1], indent=2) + "\n")
    write_atomic(result / "log.txt", "".join(log.read_text(encoding="utf-8", errors="replace") for log in logs))
    _export_compensator(weights, result / "sdic.safetensors")
    pictures = sorted((folder / "pictures").glob("*.png"))
    if pictures:
        shutil.copyfile(pictures[-1], result / "samples.png")
    ship(plan, "sdic", result, result / "log.txt", _partners(plan, config.model))
    return True


def _trained(plan: Plan, name: str, words: Sequence[str]) -> TrainConfig | None:
    """Train (on) by the config of a name; its settings, or None where the run was stopped: the same command goes on."""
    every = [
        *words,
        f"run.dir={plan.runs / name}",
        f"model.frozen={plan.file('encoder')}",
        f"model.generator={plan.file('generator')}",
        f"loss.lpips_weights={plan.file('attributes')}",
        f"loss.id_network={plan.file('identity')}",
        f"device={plan.device}",
        *(plan.settings or {}).get("sdic", ()),
    ]
    config = load_config(TrainConfig, plan.config(name), every)
    code, states = train_sdic(config), list_states(plan.runs / name / "checkpoints")
    return None if code or not states or step_of(states[-1]) < config.run.steps else config


def _best(folder: Path) -> Path:
    """The best weights of a finished run."""
    weights = folder / "checkpoints" / "best.safetensors"
    if not weights.is_file():
        raise SdicError(f"{folder}: the run has ended without best weights; set validation.every")
    return weights


def _export_compensator(weights: Path, path: Path) -> None:
    """Write DIPN and DICN of a training run, in half precision if the inversions of unseen portraits agree."""
    inverter = load(weights, "cpu", optimize=False)
    assert isinstance(inverter, SDICInverter)
    portraits = render(split_params("validation", 8), inverter.geometry.resolution)
    known = inverter.invert(portraits)

    def inversions(networks: Mapping[str, Any]) -> Tensor:
        discrepancy = networks["dipn"](known.photo, known.extras["initial_image"])
        latent, feature = networks["dicn"](discrepancy, known.base_latent, known.extras["base_feature"])
        return inverter.render(latent, feature, inverter.layer)

    bundle = read_bundle(weights)
    source = {key: value for key, value in bundle.source.items() if key not in ("file", "sha256", "layout")}
    export(path, bundle.networks, inversions, source)


def _partners(plan: Plan, model: ModelConfig) -> dict[str, str]:
    """What the header of DIPN and DICN says about their partners: files that ship beside them by their bare names, so
    that the folder works wherever it is."""
    named = {"frozen": model.frozen, "frozen_generator": model.generator}
    here = plan.out.resolve()
    return {key: Path(name).name for key, name in named.items() if name and Path(name).resolve().parent == here}
