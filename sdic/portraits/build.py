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

from sdic import zoo
from sdic.checkpoints import copy_native
from sdic.config import load_config, to_yaml
from sdic.errors import SdicError, UnknownNameError
from sdic.methods import METHODS
from sdic.portraits.directions import DirectionsConfig, find_directions
from sdic.portraits.write import write_split
from sdic.training.distributed import join
from sdic.training.exporting import portable
from sdic.training.loop import Trainer
from sdic.training.state_files import keeping
from sdic.training.stop import Stop
from sdic.training.task import StoppedError, Task, find_task
from sdic.utils.files import sha256_of, write_atomic
from sdic.utils.tensors import resolve_device

REPOSITORY = Path(__file__).resolve().parent.parent.parent
CONFIGS = REPOSITORY / "configs" / "portraits"
FROZEN = ("pictures", "attributes", "identity", "generator-supervised", "generator", "encoder", "directions")
INVERTERS = tuple(name for name, kind in METHODS.items() if kind.trains and (CONFIGS / f"{name}.yaml").is_file())
ORDER = (*FROZEN, *INVERTERS)
TASKS = {"encoder": "e4e"}  # stages that are called after their file, and not after their task
LIMIT_MIB = 40.0
PICTURES = {"": (12_000, 500), "_64": (8_000, 300), "_debug": (8, 4)}  # for inverters: training, validation
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
        return CONFIGS / f"{name}{self.variant}.yaml"

    def earlier(self, name: str) -> list[str]:
        """The runs that an inverter's own one starts from: NAME-ANYTHING, where the variant has such a config."""
        found = [path.stem.removesuffix(self.variant) for path in sorted(CONFIGS.glob(f"{name}-*{self.variant}.yaml"))]
        return [stem for stem in found if self.config(stem).is_file() and "_" not in stem]

    def file(self, name: str) -> Path:
        """The weights of a stage, where they ship, or in its run folder where they do not."""
        if name == "generator-supervised":
            return self.runs / name / "result" / f"{name}.safetensors"
        return self.out / f"{name}.safetensors"

    def words(self, name: str, stage: str = "") -> list[str]:
        """The settings of a run that follow from the plan, then those that the caller asked for its stage."""
        stage = stage or name
        frozen = {
            "generator-supervised": ["attributes={attributes}"],
            "generator": ["attributes={attributes}", "model.start={generator-supervised}"],
            "encoder": ["generator={generator}", "attributes={attributes}", "identity={identity}"],
            "directions": ["generator={generator}", "attributes={attributes}", "encoder={encoder}"],
        }
        inverter = ["model.frozen={encoder}", "model.generator={generator}"]
        inverter += ["loss.lpips_weights={attributes}", "loss.id_network={identity}"]
        files = {known: self.file(known) for known in FROZEN}
        words = [word.format(**files) for word in frozen.get(name, inverter if stage in INVERTERS else [])]
        run = [f"run.dir={self.runs / name}"] if name != "directions" else [f"folder={self.editings}"]
        cache = [] if stage in INVERTERS or name == "directions" else [f"data.cache={self.runs / 'cache'}"]
        return [*run, f"device={self.device}", *cache, *words, *(self.settings or {}).get(stage, ())]

    def task(self, name: str, words: Sequence[str], stage: str = "") -> Task:
        """What a run trains."""
        entry = find_task(TASKS.get(name, stage or name))
        config: Any = load_config(entry.config, self.config(name), words)
        return entry.task(config, join(config.device))


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
        with keeping(plan.runs / name / "checkpoints"):
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
    if name in INVERTERS:
        return _inverter(plan, name, minutes)
    folder = _trained(plan, name, plan.words(name), minutes)
    if folder is None:
        return False
    if name == "generator-supervised":
        ship_record(plan, name, folder / "result", folder / "log.txt")  # the next stage starts from its weights
    else:
        ship(plan, name, folder / "result", folder / "log.txt", {})
    return True


def _trained(plan: Plan, name: str, words: Sequence[str], minutes: float, stage: str = "") -> Path | None:
    """Train (on) by the config of a name; its run folder, or None where it was stopped: the same command goes on."""
    limit = [f"run.minutes={minutes:.3f}"] if minutes else []
    trainer = Trainer(plan.task(name, [*words, *limit], stage))
    return trainer.folder if trainer.run() == 0 and trainer.done >= 1 else None


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
    stop = Stop(minutes)
    for name in DRAWN_FOR:
        words = [word for word in plan.words(name) if not word.startswith("attributes=")]  # not needed for drawing
        try:
            plan.task(name, words).prepare(lambda: stop.wish != 0)
        except StoppedError as stopped:
            print(f"pictures: {stopped}; the same command goes on")
            return False
    return True


def _directions(plan: Plan) -> bool:
    config = load_config(DirectionsConfig, plan.config("directions"), plan.words("directions"))
    report = find_directions(config)
    shutil.copyfile(plan.editings / config.domain / "sheet.png", plan.out / "directions.png")
    write_atomic(plan.out / "directions.yaml", portable(to_yaml(config)))
    write_atomic(plan.out / "directions.json", portable(json.dumps(report, indent=2)) + "\n")
    return True


def _inverter(plan: Plan, name: str, minutes: float) -> bool:
    """A method on portraits with details; in several runs where the variant has configs for earlier ones."""
    size, counts = SIZES[plan.variant], PICTURES[plan.variant]
    pictures: list[str] = []
    for key, split, count in zip(("data", "validation"), ("inversion", "validation"), counts, strict=True):
        path = plan.runs / "pictures" / f"{split}-{size}.zip"
        write_split(split, path, count, size, device=resolve_device(plan.device))
        pictures.append(f"{key}.path={path}")
    logs: list[str] = []
    start: list[str] = []
    for run in (*plan.earlier(name), name):
        folder = _trained(plan, run, [*pictures, *plan.words(run, name), *start], minutes, name)
        if folder is None:
            return False
        if not (folder / "checkpoints" / "best.safetensors").is_file():
            raise SdicError(f"{folder}: the run has ended without best weights; set validation.every")
        logs.append((folder / "log.txt").read_text(encoding="utf-8", errors="replace"))
        start = [f"model.start={folder / 'checkpoints' / 'best.safetensors'}"]
    result = plan.runs / name / "result"
    write_atomic(result / "log.txt", "".join(logs))
    # What the header says of the partners, which ship beside it: bare names, so that the folder works wherever it is.
    partners = {"frozen": plan.file("encoder").name, "frozen_generator": plan.file("generator").name}
    ship(plan, name, result, result / "log.txt", partners)
    return True
