"""One run of `sdic invert` or `sdic edit`, from settings to exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdic.config import to_plain
from sdic.errors import SdicError
from sdic.methods import slow_on_cpu
from sdic.runner.edits import Edit, parse_edits
from sdic.runner.inputs import Item, collect, distinct
from sdic.runner.latents import codes_in, holds_codes, with_codes
from sdic.runner.model import LazyModel, warn_of_limits
from sdic.runner.prepare import Plan
from sdic.runner.progress import Progress
from sdic.runner.records import OutputError, at_work
from sdic.runner.report import DONE, IGNORED, PENDING, SKIPPED, Outcome, RankParts, summary, versions, write_report
from sdic.runner.settings import RunSettings, parse_shard
from sdic.runner.sheet import Row, make_sheets
from sdic.runner.work import INITIAL, PHOTO, Worker
from sdic.utils.text import printable
from sdic.zoo import examples_meant

EXAMPLES_MODEL = "portraits"
MOST_LINES = 50


@dataclass(frozen=True)
class Share:
    """Which part of the list is this process's. explicit: by --shard, as a run of its own; else by torchrun's ranks."""

    index: int
    count: int
    explicit: bool

    @classmethod
    def of(cls, settings: RunSettings) -> Share:
        """From the settings, or from what torchrun says in the environment."""
        if settings.shard:
            return cls(*parse_shard(settings.shard), explicit=True)
        try:
            rank, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        except ValueError:
            rank, count = 0, 1
        return cls(rank, count, explicit=False) if 0 <= rank < count else cls(0, 1, explicit=False)

    @property
    def ranks(self) -> bool:
        """Whether other ranks work on the rest at the same time."""
        return self.count > 1 and not self.explicit

    def name(self, base: str) -> str:
        """Such as "report", or "report-0-of-4" for an explicit shard."""
        return f"{base}-{self.index}-of-{self.count}" if self.explicit and self.count > 1 else base


def run(settings: RunSettings, command: str) -> int:
    """Do it, and return the exit code: 0, or 1 when some photos failed. SdicError for what stops the whole run."""
    settings = _with_examples(settings)
    settings.check(command)
    start = time.time()
    out, share = Path(settings.out), Share.of(settings)
    items = _items(settings, out, command)
    mine = items[share.index :: share.count]
    model = LazyModel(settings, out, int(os.environ.get("LOCAL_RANK", "0")) if share.ranks else None)
    known = model.named or settings.domain
    edits = parse_edits(settings.edits, model.domain) if settings.edits and known else []
    with at_work(out):
        if settings.edits and not known:
            edits = parse_edits(settings.edits, model.domain)  # may have to load the file to know its domain
        notes = warn_of_limits(edits)
        notes += [slow] if (slow := slow_on_cpu(settings.precision)) and model.on_cpu() else []
        identities = [[(d.identity(), s) for d, s in zip(e.directions, e.strengths, strict=True)] for e in edits]
        parts = RankParts(out, share.index, share.count, settings.wait_seconds) if share.ranks else None
        progress = Progress(len(mine), parts, quiet=share.ranks and share.index > 0)
        for note in notes:
            progress.say(f"warning: {note}")
        worker = Worker(Plan(settings, out, model.identity, edits, identities, model.geometry), model, progress)
        head: dict[str, Any] = {"command": command, "settings": to_plain(settings)}
        head |= {"versions": versions(), "warnings": notes, "started": time.strftime("%FT%T%z", time.localtime(start))}
        finished = False
        try:
            worker.run(mine)
            finished = True
        finally:
            progress.close(worker.outcomes, finished)
            head["model"] = model.described()
            if not finished:
                _save_what_there_is(out / f"{share.name('report')}.json", head, items, worker.outcomes, share, start)
        if parts is not None and share.index > 0:
            return 0  # rank 0 has the last word; a failing rank would make torchrun stop the others
        outcomes = parts.gather(worker.outcomes) if parts is not None else worker.outcomes
        outcomes = _in_order(items if parts is not None else mine, outcomes)
        sheets: list[str] = []
        try:
            sheets = _sheets(settings, out, share, edits, outcomes)
        except Exception as error:  # the pictures are there, with or without an overview
            notes.append(f"no contact sheet: {error or type(error).__name__}")
            progress.say(f"warning: {printable(notes[-1])}")
        finally:
            head |= {"seconds": round(time.time() - start, 3), "sheets": sheets, "device": _device(model)}
            write_report(out / f"{share.name('report')}.json", head, outcomes)
    return _conclude(outcomes, out, sheets, time.time() - start)


def _with_examples(settings: RunSettings) -> RunSettings:
    """Say what the word `examples` means; the model for them, if none is named, is the one of their domain."""
    meant = [examples_meant(name) for name in settings.inputs]
    if not any(meant):
        return settings
    if not settings.model and all(meant):
        settings = dataclasses.replace(settings, model=EXAMPLES_MODEL)
    share = Share.of(settings)
    if not share.ranks or share.index == 0:
        folder = next(folder for folder in meant if folder is not None)
        print(f"examples: the bundled portraits in {folder}, model {settings.model or 'not named'}", file=sys.stderr)
    return settings


def _items(settings: RunSettings, out: Path, command: str) -> list[Item]:
    """Every input in order; with a limit, up to the last photo that it allows."""
    codes = [word for word in settings.inputs if holds_codes(Path(word)) and os.path.isfile(word)]
    if codes and command != "edit":
        raise SdicError(f"{codes[0]}: may hold codes, which are edited, not inverted; use: sdic edit")
    items = collect([word for word in settings.inputs if word not in codes], out, inversions=command == "edit")
    if command == "edit":
        items = with_codes(items) + [item for word in codes for item in codes_in(Path(word))]
        items = distinct(items)
    if all(item.ignored for item in items):
        raise SdicError(f"no photos in {', '.join(settings.inputs)}")
    photos = [index for index, item in enumerate(items) if not item.ignored]
    if 0 < settings.limit < len(photos):
        items = items[: photos[settings.limit]]
    return items


def _in_order(
    items: Sequence[Item],
    outcomes: Sequence[Outcome],
    reason: str = "no rank reported it; run the same command again",
) -> list[Outcome]:
    """The outcomes in the order of the items; an item that nobody reported is not finished."""
    by_name: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        by_name.setdefault(outcome.name, []).append(outcome)
    names = [printable(item.name) for item in items]
    return [by_name[name].pop(0) if by_name.get(name) else Outcome(name, PENDING, reason) for name in names]


def _sheets(
    settings: RunSettings, out: Path, share: Share, edits: Sequence[Edit], outcomes: Sequence[Outcome]
) -> list[str]:
    shown = [outcome for outcome in outcomes if outcome.status in (DONE, SKIPPED)]
    if not settings.sheet_rows or not settings.sheet_pages or not shown:
        return []
    rows = []
    for outcome in shown:
        inversion = outcome.outputs[0]
        stem = inversion.removeprefix("inversion/")
        pictures = [output for output in outcome.outputs if output.endswith(".png")]
        rows.append(Row(outcome.name, (f"{PHOTO}/{stem}", f"{INITIAL}/{stem}", *pictures)))
    labels = ["photo", "first reconstruction", "inversion", *(edit.label for edit in edits)]
    return make_sheets(out, share.name("sheet"), labels, rows, settings.sheet_rows, settings.sheet_pages)


def _save_what_there_is(
    path: Path, head: dict[str, Any], items: Sequence[Item], outcomes: Sequence[Outcome], share: Share, start: float
) -> None:
    """The report of a run that was stopped; if even that cannot be written, the reason for stopping matters more."""
    if share.ranks and share.index > 0:
        return
    everything = _in_order(items[share.index :: share.count], outcomes, reason="the run was stopped before")
    with contextlib.suppress(OutputError):
        write_report(path, {**head, "seconds": round(time.time() - start, 3)}, everything)
    kept = sum(outcome.status in (DONE, SKIPPED) for outcome in outcomes)
    if kept:
        print(f"stopped: {kept} of {len(everything)} photos are finished and kept in {path.parent}", file=sys.stderr)


def _device(model: LazyModel) -> str:
    return str(model.inverter.device) if model.loaded else "not used"


def _conclude(outcomes: Sequence[Outcome], out: Path, sheets: Sequence[str], seconds: float) -> int:
    """Say what was done and what was not; the exit code."""
    print(summary(outcomes, seconds) + f" -> {printable(str(out))}" + (f", see {sheets[0]}" if sheets else ""))
    bad = [outcome for outcome in outcomes if outcome.status not in (DONE, SKIPPED, IGNORED)]
    for outcome in bad[:MOST_LINES]:
        print(f"  {outcome.status}: {outcome.name}: {outcome.reason}", file=sys.stderr)
    if len(bad) > MOST_LINES:
        print(f"  and {len(bad) - MOST_LINES} more, see {out / 'report.json'}", file=sys.stderr)
    return 1 if bad else 0
