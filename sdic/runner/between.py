"""One run of `sdic interpolate` or `sdic mix`: two photos (or saved inversions, or codes) and what lies between them.

OUT/A-B/ has the pictures, OUT/look/A-B.png all of them in a row; both photos' inversions are where `sdic invert` puts
them. What is done is skipped, as there.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from sdic.config import to_plain
from sdic.errors import ConfigError, SdicError
from sdic.look import looks_of
from sdic.look.animation import write_animation
from sdic.look.grid import strip
from sdic.look.page import Entry, Series, Step, write_page
from sdic.methods import Inverter
from sdic.methods.mixing import parse_rows
from sdic.runner.inputs import Item, find
from sdic.runner.looks import MOVING, check_video
from sdic.runner.model import LazyModel
from sdic.runner.pipeline import Job, Pipeline
from sdic.runner.records import DONE, Outcome, Record, at_work, key_of, writing
from sdic.runner.report import versions
from sdic.runner.settings import RunSettings
from sdic.types import Inversion
from sdic.utils.files import within_limits, write_atomic
from sdic.utils.images import to_picture, write_png
from sdic.utils.text import printable

MOST, ROW = 10_000, 16  # pictures, and of those in the row that shows them all


@dataclass
class BetweenSettings(RunSettings):
    """Of both commands; the rest is as for `sdic edit`.

    steps: of an interpolation, both ends included. t: these places alone, from 0 to 1, instead of steps.
    rows: of a mix, each such as "8-17" or "4,8-11" or "fine". strength: how far a mix goes, from 0 to 1.
    """

    steps: int = 9
    t: list[float] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    strength: float = 1.0

    def check_between(self, command: str) -> None:
        """ConfigError for what the command cannot do without."""
        usage = f"sdic {command} A B --out DIR --model NAME" + (" --rows 8-17" if command == "mix" else " --steps 9")
        if len(self.inputs) != 2:
            raise ConfigError(f"two photos or saved inversions are needed, got {len(self.inputs)}; usage: {usage}")
        for name, what in (("out", "--out DIR"), ("model", "--model NAME (`sdic models` lists them)")):
            if not getattr(self, name):
                raise ConfigError(f"{what} missing; usage: {usage}")
        if command == "mix" and not self.rows:
            raise ConfigError(f"--rows missing: which rows the second photo gives; usage: {usage}")
        if not 2 <= self.steps <= MOST:
            raise ConfigError(f"steps must be 2 to {MOST}, got {self.steps}")
        for name, value in (("strength", self.strength), *(("t", value) for value in self.t)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name} must be a number from 0 to 1, got {value}")
        wrong = [look for look in looks_of(self.look) if look == "grid" or (look in MOVING and command == "mix")]
        if wrong:
            raise ConfigError(f"--look {wrong[0]} does not go with `sdic {command}`")
        check_video(self.look)


@dataclass(frozen=True)
class _Between:
    """A picture between: its label, its number or words for the record's key, and how the inversion is made."""

    label: str
    key: str
    make: Callable[[Inversion, Inversion], Inversion]


def run(settings: BetweenSettings, command: str) -> int:
    """Do it; the exit code is 0. SdicError for what cannot be done."""
    start = time.time()
    settings.check_between(command)
    out, items = Path(settings.out), [_one(word, settings) for word in settings.inputs]
    model = LazyModel(settings)
    pipeline = Pipeline(model)
    pair = "-".join(item.stem.replace("/", "_") for item in items)
    with at_work(out):
        jobs = [Job(item) for item in items]
        for job in jobs:
            pipeline.skip(job)
        betweens = _interpolation(settings, model) if command == "interpolate" else _mixes(settings, model)
        record = Record.load(out, f"{pair}.{command}")
        endings = [".png", *([".safetensors"] if settings.save_inversions else [])]
        names = {one.label: [within_limits(f"{pair}/{one.label}", ending) for ending in endings] for one in betweens}
        facts = [job.facts for job in jobs]
        keys = {one.label: key_of(command=command, of=facts, key=one.key) for one in betweens}
        missing = [
            one for one in betweens if not all(record.is_done(name, keys[one.label]) for name in names[one.label])
        ]
        if missing or any(job.missing for job in jobs):
            for words in settings.rows:  # what is wrong with one is said before anything is inverted
                _rows(words, model)
            ends = [_inverted(pipeline, job) for job in jobs]
            try:
                for number, one in enumerate(missing, 1):
                    _write(out, names[one.label], one.make(*ends), model)
                    for name in names[one.label]:
                        record.add(name, keys[one.label])
                    if number % 10 == 0:
                        print(f"{number} of {len(missing)}", file=sys.stderr)
            finally:
                record.save("", Outcome(pair, DONE))
        looks = _looks(settings, command, pair, [(one.label, out / names[one.label][0]) for one in betweens])
        about: dict[str, Any] = {
            "command": command,
            "settings": to_plain(settings),
            "versions": versions(),
            "model": model.described(),
        }
        seconds = round(time.time() - start, 3)
        about |= {"pictures": [name for found in names.values() for name in found], "looks": looks, "seconds": seconds}
        with writing(out / "report.json"):
            write_atomic(out / "report.json", json.dumps(about, indent=1) + "\n")
    counts = f"{len(missing)} new, {len(betweens) - len(missing)} already done"
    print(f"{len(betweens)} pictures: {counts} ({seconds:.1f} s) -> {printable(str(out))}, see {printable(looks[0])}")
    return 0


def _one(word: str, settings: RunSettings) -> Item:
    """The one photo, inversion or code that a word means."""
    items = [item for item in find([word], Path(settings.out), editing=True) if not item.ignored]
    if len(items) > 1:
        raise SdicError(f"{word} holds {len(items)} photos ({items[0].name}, ...); name one of them")
    if items[0].problem:
        raise SdicError(f"{word}: {items[0].problem}")
    return items[0]


def _inverted(pipeline: Pipeline, job: Job) -> Inversion:
    """The job's inversion, whose own files are written where they are missing."""
    if job.start is None:
        pipeline.read(job, job.item.content(pipeline.settings.max_pixels))
    inversion = pipeline.invert([job])
    if job.missing:
        pipeline.edit([job], inversion)
        pipeline.write(job)
        job.end(DONE)
        pipeline.report(job)
    return inversion


def _interpolation(settings: BetweenSettings, model: LazyModel) -> list[_Between]:
    places = settings.t or [step / (settings.steps - 1) for step in range(settings.steps)]

    def make(t: float, first: Inversion, second: Inversion) -> Inversion:
        return _method(settings, model).interpolate(first, second, t)

    return [_Between(f"t={t:.4f}", f"{t!r} {settings.rule}", partial(make, t)) for t in dict.fromkeys(places)]


def _mixes(settings: BetweenSettings, model: LazyModel) -> list[_Between]:
    strength = "" if settings.strength == 1 else f",strength={settings.strength:g}"

    def make(words: str, first: Inversion, second: Inversion) -> Inversion:
        return _method(settings, model).mix(first, second, _rows(words, model), settings.strength)

    return [
        _Between(f"rows={words}{strength}", f"{words} {settings.strength!r} {settings.rule}", partial(make, words))
        for words in dict.fromkeys(settings.rows)
    ]


def _rows(words: str, model: LazyModel) -> list[int]:
    return parse_rows(words, model.inverter.generator.config.latent_rows)


def _method(settings: RunSettings, model: LazyModel) -> Inverter:
    return model.inverter.with_options(**model.edit_options) if settings.rule else model.inverter


def _write(out: Path, names: list[str], inversion: Inversion, model: LazyModel) -> None:
    for name in names:
        with writing(out / name):
            if name.endswith(".png"):
                write_png(out / name, to_picture(model.inverter.geometry.visible(inversion.image)))
            else:
                inversion.cpu().save(out / name)


def _looks(settings: BetweenSettings, command: str, pair: str, frames: list[tuple[str, Path]]) -> list[str]:
    """Write what is asked for, and the row of all pictures; the files' names."""
    out, files = Path(settings.out), [file for _, file in frames]
    made = [within_limits(f"look/{pair}-{command}", ".png")]
    with writing(out / made[0]):
        last, most = len(frames) - 1, min(len(frames), ROW) - 1
        shown = [frames[round(step * last / max(most, 1))] for step in range(most + 1)]
        write_png(out / made[0], strip([file for _, file in shown], [label for label, _ in shown], pair))
    for look in looks_of(settings.look):
        name = "page.html" if look == "page" else within_limits(f"look/{pair}-{command}", f".{look}")
        with writing(out / name):
            if look in MOVING:
                write_animation(out / name, files, settings.fps, back=look != "mp4")
            elif look == "page":
                first, second = (Step(label, file) for label, file in (frames[0], frames[-1]))
                series = Series(command, tuple(Step(*frame) for frame in frames))
                before = (first, second) if command == "interpolate" else _ends(settings)
                about = {"model": Path(settings.model).name, "rule": settings.rule or "the default", **versions()}
                write_page(out / name, f"sdic {command}", [Entry(pair, before, (series,))], about)
        made += [] if look == "strip" else [name]
    return made


def _ends(settings: RunSettings) -> tuple[Step, ...]:
    items = [_one(word, settings) for word in settings.inputs]
    return tuple(
        Step(item.name, Path(settings.out) / within_limits(f"inversion/{item.stem}", ".png")) for item in items
    )
