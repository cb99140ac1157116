"""One run of `sdic invert` or `sdic edit`, from settings to exit code. What happens to a photo is in pipeline.py."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sdic.config import to_plain
from sdic.editing.lists import distinct, read_edits, restricted
from sdic.editing.words import Edit, parse_edits, warn_of_limits
from sdic.methods import slow_on_cpu
from sdic.runner.inputs import Item, find
from sdic.runner.jobs import SMALL
from sdic.runner.looks import PHOTO, Looks, Shown, check_looks, sweeps
from sdic.runner.model import LazyModel
from sdic.runner.pipeline import Pipeline
from sdic.runner.raw import NO_DETECTOR
from sdic.runner.records import DONE, SKIPPED, Outcome, OutputError, at_work, mark_of_run, others, writing
from sdic.runner.report import Report, conclude, totals, versions
from sdic.runner.settings import RunSettings, Share
from sdic.runner.sheet import Row, make_sheets
from sdic.utils.files import write_atomic
from sdic.zoo import examples_meant

EXAMPLES_MODEL = "portraits"
STALE = 120.0  # seconds that ranks of one run may start apart
UNKNOWN, STOPPED = "no rank reported it; run the same command again", "the run was stopped before"


def run(settings: RunSettings, command: str) -> int:
    """Do it, and return the exit code: 0, or 1 when some photos failed. SdicError for what stops the whole run."""
    start, share = time.time(), Share.of(settings.shard)
    settings = _with_examples(settings, share)
    settings.check(command)
    out = Path(settings.out)
    items = find(settings.inputs, out, editing=command == "edit", limit=settings.limit)
    mine = items[share.index :: share.count]
    model = LazyModel(settings, int(os.environ.get("LOCAL_RANK", "0")) if share.ranks else None)
    if any(type(item) is Item and item.problem is None for item in mine):
        model.check_for_photos()
    edits = _edits(settings, model) if command == "edit" else []
    check_looks(settings.look, edits)
    notes = warn_of_limits(edits)
    notes += [NO_DETECTOR] if model.blind else []
    notes += [slow] if (slow := slow_on_cpu(settings.precision)) and model.on_cpu() else []
    path = out / f"{share.name('report')}.json"

    def write(outcomes: Sequence[Outcome], sheets: Sequence[str] = (), looks: Sequence[str] = ()) -> None:
        """report.json, whole or not at all. Names that are not Unicode are escaped."""
        began = time.strftime("%FT%T%z", time.localtime(start))
        device = str(model.inverter.device) if model.loaded else "not used"
        about: dict[str, Any] = {"command": command, "settings": to_plain(settings), "versions": versions()}
        about |= {"warnings": notes, "started": began, "seconds": round(time.time() - start, 3)}
        about |= {"model": model.described(), "device": device, "sheets": sheets, "totals": totals(outcomes)}
        about |= {"looks": looks} if looks else {}
        with writing(path):
            write_atomic(path, json.dumps({**about, "files": [vars(outcome) for outcome in outcomes]}, indent=1) + "\n")

    with at_work(out):
        report = Report(len(mine), quiet=not share.leads)
        for note in notes:
            report.say(f"warning: {note}")
        mark = mark_of_run(to_plain(settings)) if share.ranks else ""
        before = path.stat().st_mtime if path.is_file() else 0.0  # the end of the run before
        try:
            Pipeline(model, edits, report, mark).run(mine)
            if share.ranks and share.leads:
                parts = [items[rank :: share.count] for rank in range(1, share.count)]
                report.outcomes |= others(out, parts, mark, max(before, start - STALE), settings.wait_seconds)
        except BaseException:
            outcomes = report.listed(mine, STOPPED)
            if share.leads:
                with contextlib.suppress(OutputError):  # the reason for stopping matters more
                    write(outcomes)
            if kept := sum(outcome.status in (DONE, SKIPPED) for outcome in outcomes):
                report.say(f"stopped: {kept} of {len(outcomes)} photos are finished and kept in {out}")
            raise
        finally:
            report.close()
        if not share.leads:
            return 0  # rank 0 has the last word; a failing rank would make torchrun stop the others
        outcomes, sheets = report.listed(items if share.ranks else mine, UNKNOWN), []
        looks = Looks(out, settings.look, settings.fps, edits)
        try:  # the pictures are there, with or without an overview
            with _noted("no contact sheet", notes, report):
                sheets = _sheets(settings, share, edits, outcomes)
            with _noted("not everything to look at", notes, report):
                shown = _shown(out, edits, outcomes)
                looks.make(shown, f"sdic {command}", _about(settings, model, edits, len(shown)), share.name("page"))
        finally:
            write(outcomes, sheets, looks.made)
    return conclude(outcomes, out, sheets, time.time() - start)


def _with_examples(settings: RunSettings, share: Share) -> RunSettings:
    """Say what the word `examples` means; the model for them, if none is named, is the one of their domain."""
    meant = [examples_meant(name) for name in settings.inputs]
    if not any(meant):
        return settings
    if not settings.model and all(meant):
        settings = dataclasses.replace(settings, model=EXAMPLES_MODEL)
    if share.leads:
        folder = next(folder for folder in meant if folder is not None)
        print(f"examples: the bundled portraits in {folder}, model {settings.model or 'not named'}", file=sys.stderr)
    return settings


@contextlib.contextmanager
def _noted(what: str, notes: list[str], report: Report) -> Iterator[None]:
    """Make what goes wrong a warning of the run."""
    try:
        yield
    except Exception as error:
        notes.append(f"{what}: {error or type(error).__name__}")
        report.say(f"warning: {notes[-1]}")


def _edits(settings: RunSettings, model: LazyModel) -> list[Edit]:
    """Those of the words and of the list, inside the mask if there is one."""
    domain = model.domain() or ""
    edits = parse_edits(settings.edits, domain)
    if settings.edit_list:
        edits = distinct([*edits, *read_edits(settings.edit_list, domain)])
    return restricted(edits, settings.mask) if settings.mask else edits


def _shown(out: Path, edits: Sequence[Edit], outcomes: Sequence[Outcome]) -> list[Shown]:
    """The photos that are done, with their pictures."""
    found = []
    for outcome in outcomes:
        for name, files in _pictures(outcome):
            small = out / SMALL[PHOTO] / name
            pictures = {PHOTO: small} if small.is_file() else {}
            pictures |= dict(zip(["inversion", *(edit.label for edit in edits)], map(out.joinpath, files), strict=True))
            found.append(Shown(outcome, name.removesuffix(".png"), pictures))
    return found


def _pictures(outcome: Outcome) -> Iterator[tuple[str, list[str]]]:
    """(file name, files of the inversion and every edit) of each face of a photo that is done. A raw photo's are the
    crops; videos have none."""
    first = "inversion/"
    names = [path.removeprefix(first) for path in outcome.outputs if path.startswith(first)]
    for name in names if outcome.status in (DONE, SKIPPED) else ():
        made = [path for path in outcome.outputs if path.endswith(f"/{name}")]
        crops = [path for path in made if path.startswith("crops/")]
        yield name, [first + name, *crops] if crops else made


def _about(settings: RunSettings, model: LazyModel, edits: Sequence[Edit], photos: int) -> dict[str, Any]:
    """What the page says of the run: no path, since pages are sent to others."""
    described = {f"model {name}": text for name, text in model.described().items()}
    asked = {"photos": photos, "edits": "; ".join(sweeps(edits)), "rule": settings.rule or "the default"}
    asked |= {"method's options": settings.options, "precision": settings.precision}
    return {**described, **{name: value for name, value in asked.items() if value}, **versions()}


def _sheets(settings: RunSettings, share: Share, edits: Sequence[Edit], outcomes: Sequence[Outcome]) -> list[str]:
    """The contact sheets of all photos that are done; their files' names."""
    rows = []
    for outcome in outcomes if settings.sheet_rows and settings.sheet_pages else ():
        for name, files in _pictures(outcome):
            rows.append(Row(outcome.name, (*(f"{folder}/{name}" for folder in SMALL.values()), *files)))
    if not rows:
        return []
    labels, out = [*SMALL, "inversion", *(edit.label for edit in edits)], Path(settings.out)
    return make_sheets(out, share.name("sheet"), labels, rows, settings.sheet_rows, settings.sheet_pages)
