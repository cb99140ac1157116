"""One run of `sdic invert` or `sdic edit`, from settings to exit code. What happens to a photo is in pipeline.py."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdic.config import to_plain
from sdic.methods import slow_on_cpu
from sdic.runner.edits import Edit, parse_edits, warn_of_limits
from sdic.runner.model import LazyModel
from sdic.runner.pipeline import SMALL, Pipeline, find
from sdic.runner.records import DONE, SKIPPED, Outcome, OutputError, at_work
from sdic.runner.report import Report, conclude, versions, write_report
from sdic.runner.settings import RunSettings
from sdic.runner.shares import Share, begun, others
from sdic.runner.sheet import Row, make_sheets
from sdic.utils.text import printable
from sdic.zoo import examples_meant

EXAMPLES_MODEL = "portraits"
UNKNOWN, STOPPED = "no rank reported it; run the same command again", "the run was stopped before"


def run(settings: RunSettings, command: str) -> int:
    """Do it, and return the exit code: 0, or 1 when some photos failed. SdicError for what stops the whole run."""
    start, share = time.time(), Share.of(settings.shard)
    settings = _with_examples(settings, share)
    settings.check(command)
    out = Path(settings.out)
    items = find(settings, command)
    mine = share.part(items)
    model = LazyModel(settings, int(os.environ.get("LOCAL_RANK", "0")) if share.ranks else None)
    known = model.named or settings.domain
    edits = parse_edits(settings.edits, model.domain() or "") if settings.edits and known else []
    report_file = out / f"{share.name('report')}.json"
    with at_work(out):
        if settings.edits and not known:
            edits = parse_edits(settings.edits, model.domain() or "")  # may have to load the file to know its domain
        notes = warn_of_limits(edits)
        notes += [slow] if (slow := slow_on_cpu(settings.precision)) and model.on_cpu() else []
        report = Report(len(mine), quiet=not share.leads)
        for note in notes:
            report.say(f"warning: {note}")
        mark, since = share.mark(settings), begun(report_file)

        def head(sheets: Sequence[str] = ()) -> dict[str, Any]:
            began = time.strftime("%FT%T%z", time.localtime(start))
            device = str(model.inverter.device) if model.loaded else "not used"
            about = {"command": command, "settings": to_plain(settings), "versions": versions(), "warnings": notes}
            about |= {"started": began, "seconds": round(time.time() - start, 3), "model": model.described()}
            return {**about, "device": device, "sheets": list(sheets)}

        try:
            Pipeline(settings, model, edits, report, mark).run(mine)
            if share.ranks and share.leads:
                parts = [share.part(items, rank) for rank in range(1, share.count)]
                report.outcomes |= others(out, parts, mark, since, settings.wait_seconds)
        except BaseException:
            if share.leads:
                _keep(report_file, head(), report.listed(mine, STOPPED))
            raise
        finally:
            report.close()
        if not share.leads:
            return 0  # rank 0 has the last word; a failing rank would make torchrun stop the others
        outcomes = report.listed(items if share.ranks else mine, UNKNOWN)
        sheets: list[str] = []
        try:
            sheets = _sheets(settings, share, edits, outcomes)
        except Exception as error:  # the pictures are there, with or without an overview
            notes.append(f"no contact sheet: {error or type(error).__name__}")
            report.say(f"warning: {printable(notes[-1])}")
        finally:
            write_report(report_file, head(sheets), outcomes)
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


def _sheets(settings: RunSettings, share: Share, edits: Sequence[Edit], outcomes: Sequence[Outcome]) -> list[str]:
    made = [outcome for outcome in outcomes if outcome.status in (DONE, SKIPPED)]
    if not settings.sheet_rows or not settings.sheet_pages or not made:
        return []
    rows = []
    for outcome in made:
        stem = outcome.outputs[0].removeprefix("inversion/")
        pictures = [output for output in outcome.outputs if output.endswith(".png")]
        rows.append(Row(outcome.name, (*(f"{folder}/{stem}" for folder in SMALL.values()), *pictures)))
    labels = [*SMALL, "inversion", *(edit.label for edit in edits)]
    out, name = Path(settings.out), share.name("sheet")
    return make_sheets(out, name, labels, rows, settings.sheet_rows, settings.sheet_pages)


def _keep(path: Path, head: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    """The report of a run that was stopped; if even that cannot be written, the reason for stopping matters more."""
    with contextlib.suppress(OutputError):
        write_report(path, head, outcomes)
    kept = sum(outcome.status in (DONE, SKIPPED) for outcome in outcomes)
    if kept:
        print(f"stopped: {kept} of {len(outcomes)} photos are finished and kept in {path.parent}", file=sys.stderr)
