"""The way of a photo, from top to bottom: find, skip, read, invert, edit, write, report.

`Pipeline.run` takes a list of files through it: one thread skips and reads ahead, the caller's inverts and edits,
two write. `Pipeline.one` takes one photo in memory the same way, without any folder.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from sdic.errors import CheckpointError, SdicError
from sdic.runner.edits import Edit
from sdic.runner.inputs import Content, InversionItem, Item, collect, distinct
from sdic.runner.latents import codes_in, holds_codes, with_codes, write_code
from sdic.runner.model import LazyModel
from sdic.runner.records import DONE, FAILED, FOLDER, SKIPPED, Outcome, OutputError, Record, decided, key_of, writing
from sdic.runner.report import Report
from sdic.runner.settings import RunSettings
from sdic.types import Inversion
from sdic.utils.files import within_limits, write_atomic
from sdic.utils.images import fit, to_picture, to_tensor, write_png

WRITERS = 2
INVERSION = "inversion"
SMALL = {"photo": f"{FOLDER}/photo", "first reconstruction": f"{FOLDER}/initial"}
"""Label -> folder of the small pictures for the contact sheet."""


@dataclass(frozen=True)
class Output:
    """A file to make. path: relative to OUT. key: what it depends on. label: of the picture in it, "" for none."""

    path: str
    key: str
    label: str = ""


@dataclass
class Job:
    """An item on its way.

    outputs: every file it becomes; missing: those still to be made. start: what the model begins with, pixels
    [3, H, W] in [-1, 1], a code [L, D], or an inversion. inversion: of one image, on the CPU. pictures: by label, the
    "inversion" and edits such as "age=3". facts: what the inversion depends on. notes: what its owner should know.
    """

    item: Item
    record: Record = field(default_factory=Record)
    outputs: list[Output] = field(default_factory=list)
    missing: list[Output] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    start: Tensor | Inversion | None = None
    inversion: Inversion | None = None
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def is_photo(self) -> bool:
        """Whether it begins with pixels, which go through the model in groups."""
        return isinstance(self.start, Tensor) and self.start.ndim == 3

    def outcome(self, status: str, reason: str | None = None) -> Outcome:
        """Its line in the report."""
        outcome = Outcome(self.item.name, status, reason, self.notes)
        if status in (DONE, SKIPPED):
            outcome.outputs = [output.path for output in self.outputs]
        if status == DONE:
            outcome.inversion, outcome.seconds = "computed" if self.is_photo else "saved", round(self.seconds, 4)
        return outcome


def find(settings: RunSettings, command: str) -> list[Item]:
    """Every input in order, saved inversions and codes for `edit` only; with a limit, up to the last photo that it
    allows. SdicError where there is nothing to do."""
    codes = [word for word in settings.inputs if holds_codes(Path(word)) and Path(word).is_file()]
    if codes and command != "edit":
        raise SdicError(f"{codes[0]}: may hold codes, which are edited, not inverted; use: sdic edit")
    others = [word for word in settings.inputs if word not in codes]
    items = collect(others, Path(settings.out), inversions=command == "edit")
    if command == "edit":
        items = with_codes(items) + [item for word in codes for item in codes_in(Path(word))]
    items = distinct(items)
    photos = [index for index, item in enumerate(items) if not item.ignored]
    if not photos:
        raise SdicError(f"no photos in {', '.join(settings.inputs)}")
    return items[: photos[settings.limit]] if 0 < settings.limit < len(photos) else items


class Pipeline:
    """What is done to every photo of a run. report: gets every outcome. run: the mark of a run of several ranks, which
    read each other's outcomes in the records."""

    def __init__(
        self,
        settings: RunSettings,
        model: LazyModel,
        edits: Sequence[Edit] = (),
        report: Report | None = None,
        run: str = "",
    ):
        self.settings, self.model, self.edits, self.out = settings, model, edits, Path(settings.out)
        self._report, self._run = report or Report(0, quiet=True), run
        self._identities = {edit.label: edit.identity() for edit in edits}
        self._pending: deque[tuple[Job, Future[Outcome]]] = deque()
        self._writers: ThreadPoolExecutor

    def one(self, content: Content) -> Job:
        """A picture, an inversion or a code [L, D] in memory -> the job with its inversion, pictures and notes. Nothing
        is skipped or written; what is wrong with it is raised."""
        job = Job(Item(Path(), "photo", "photo"))
        job.missing = [Output("", "", label) for label in (INVERSION, *(edit.label for edit in self.edits))]
        self.read(job, content)
        self.invert_and_edit([job])
        return job

    def run(self, items: Sequence[Item]) -> None:
        """Every item, in order; an OutputError or ConfigError ends it early, everything else is an item's outcome. The
        report grows as files are finished: an interrupted run knows what it has."""
        _ = self.model.identity  # a weight file that cannot be read ends the run, not a photo
        size = self.settings.batch_size or (1 if self.model.on_cpu() else 4)
        group: list[Job] = []
        try:
            with _pool(1) as readers, _pool(WRITERS) as self._writers:
                for job, outcome in _ahead(readers, self._prepare, items, 2 * size):
                    if self.model.failure is not None:
                        raise self.model.failure
                    if outcome is not None:
                        self.report(job, outcome)
                    elif job.is_photo:
                        group.append(job)
                        if len(group) == size:
                            self._compute(group)
                            group = []
                    else:
                        self._compute([job])
                if group:
                    self._compute(group)
                self._collect(0)
        finally:
            for job, written in self._pending:  # interrupted: what the writers had finished all the same
                if written.done() and not written.cancelled() and written.exception() is None:
                    self.report(job, written.result())
            self._pending.clear()

    def _prepare(self, item: Item) -> tuple[Job, Outcome | None]:
        """Skip or read, ahead of the model. Never raises for what is wrong with the item, which is its outcome."""
        job = Job(item, notes=list(item.notes))
        if (outcome := decided(item)) is not None:
            return job, outcome
        try:
            self.skip(job)
            if not job.missing:
                return job, job.outcome(SKIPPED)
            self.read(job, self._saved(job) or item.content(self.settings.max_pixels))
            return job, None
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error})"
        except SdicError as error:
            reason = str(error).removeprefix(f"{item.path}: ")
        except Exception as error:  # a damaged file can surprise its reader
            reason = f"damaged ({type(error).__name__}: {error})"
        return job, job.outcome(FAILED, reason)

    def skip(self, job: Job) -> None:
        """Find out by the item's hash and its record which outputs are missing."""
        item, out = job.item, self.out
        job.record = Record.load(out, item.stem)
        digest = item.digest(self.settings.max_pixels)
        job.facts = {"photo": digest, **self.model.identity, "precision": self.settings.precision}
        key = key_of(**job.facts)
        job.outputs.append(Output(within_limits(f"{INVERSION}/{item.stem}", ".png"), key, INVERSION))
        saved = _saved_path(item)
        if self.settings.save_inversions and (out / saved).resolve() != item.path.resolve():
            job.outputs.append(Output(saved, key))
        if self.settings.save_latents:
            job.outputs.append(Output(within_limits(f"latents/{item.stem}", ".npy"), key))
        for label, identity in self._identities.items():
            edit_key = key_of(inversion=key, rule=self.settings.rule, edit=identity)
            job.outputs.append(Output(within_limits(f"{label}/{item.stem}", ".png"), edit_key, label))
        job.missing = [output for output in job.outputs if not job.record.is_done(output.path, output.key)]
        if not job.missing:
            job.notes = list(job.record.warnings)

    def read(self, job: Job, content: Content) -> None:
        """Make of an item's content what the model begins with; a photo is fitted to the model's geometry."""
        if isinstance(content, Image.Image):
            picture, notes = fit(content, self.model.geometry())
            job.start = to_tensor(picture)
            job.notes += notes
        elif isinstance(content, Inversion) and len(content) != 1:
            raise CheckpointError(f"holds {len(content)} inversions; save them one by one")
        else:
            job.start = content

    def _saved(self, job: Job) -> Inversion | None:
        """The inversion that an earlier run saved for the same photo, weights and settings."""
        path = _saved_path(job.item)
        if type(job.item) is not Item or not job.record.is_done(path, key_of(**job.facts)):
            return None
        with contextlib.suppress(CheckpointError):  # a damaged one will be made again
            inversion = Inversion.load(self.out / path)
            job.notes = list(job.record.warnings)
            return inversion
        return None

    def _compute(self, group: list[Job]) -> None:
        """A group through the model in one go, and on to the writers; if that fails, one by one, to find the one that
        does it."""
        _ = self.model.inverter  # what is wrong with the model is wrong for every photo
        for edit in self.edits:
            self.model.directions(edit)
        try:
            self.invert_and_edit(group)
        except Exception as error:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if len(group) == 1:
                self.report(group[0], group[0].outcome(FAILED, self._why(error)))
            else:
                for job in group:
                    self._compute([job])
            return
        self._pending += [(job, self._writers.submit(self.write, job)) for job in group]
        self._collect(max(WRITERS, len(group)))

    def invert_and_edit(self, group: list[Job]) -> None:
        """Give every job of a group its inversion and its missing pictures. A group is photos, or one job of any
        kind."""
        begun, start = time.perf_counter(), group[0].start
        missing = [{output.label for output in job.missing} for job in group]
        if isinstance(start, Inversion):
            inversion = start
        elif group[0].is_photo:
            inversion = self.model.inverter.invert(torch.stack([job.start for job in group]))  # type: ignore[misc]
        else:
            inversion = self.model.inverter.from_latent(start[None])  # type: ignore[index]
        visible = self.model.geometry().visible
        for edit in self.edits:
            wanted = [index for index, labels in enumerate(missing) if edit.label in labels]
            if wanted:
                strengths = [torch.tensor(strength) for strength in edit.strengths]
                directions = self.model.directions(edit)
                images = self.model.inverter.edit(inversion[wanted], directions, strengths, self.settings.rule)  # type: ignore[arg-type]
                for index, image in zip(wanted, visible(images), strict=True):
                    group[index].pictures[edit.label] = to_picture(image)
        inversion = inversion.cpu()
        for index, job in enumerate(group):
            job.inversion = own = inversion[index]
            if INVERSION in missing[index]:
                job.pictures[INVERSION] = to_picture(visible(own.image))
            for label, image in zip(SMALL, (own.photo, own.initial_image), strict=True):
                if image is not None:
                    job.pictures[label] = to_picture(image)
        for job in group:
            job.seconds = (time.perf_counter() - begun) / len(group)

    def write(self, job: Job) -> Outcome:
        """Write what was missing, then the record: a kill in between only means doing it again."""
        out, record, inversion = self.out, job.record, job.inversion
        assert inversion is not None
        for output in job.missing:
            path = out / output.path
            with writing(path, only_fatal=True):
                if output.label:
                    write_png(path, job.pictures[output.label])
                elif path.suffix == ".npy":
                    write_code(path, inversion.latent[0])
                elif isinstance(job.item, InversionItem):
                    write_atomic(path, job.item.path.read_bytes())
                else:
                    name = job.item.name.encode("utf-8", "backslashreplace").decode()
                    inversion.save(path, {"name": name, **job.facts})
                record.add(output.path, output.key)
        for label in SMALL.keys() & job.pictures.keys():
            path = out / within_limits(f"{SMALL[label]}/{job.item.stem}", ".png")
            with writing(path, only_fatal=True):
                write_png(path, job.pictures[label])
        record.warnings, outcome = job.notes, job.outcome(DONE)
        with writing(record.path, only_fatal=True):
            record.save(self._run, outcome)
        return outcome

    def report(self, job: Job, outcome: Outcome) -> None:
        """Say what became of it: to the person, and where there are ranks to the others."""
        if self._run and outcome.status != DONE and decided(job.item) is None:
            with contextlib.suppress(OSError), writing(job.record.path, only_fatal=True):
                job.record.save(self._run, outcome)
        self._report.add(job.item, outcome)

    def _collect(self, most: int) -> None:
        """Report what the writers have done, until at most so many jobs are unfinished."""
        while len(self._pending) > most or (self._pending and self._pending[0][1].done()):
            job, written = self._pending.popleft()
            try:
                outcome = written.result()
            except OutputError:
                raise
            except Exception as error:
                outcome = job.outcome(FAILED, self._why(error))
            self.report(job, outcome)

    def _why(self, error: Exception) -> str:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in str(error):
            remedy = "run it where more is free" if self.model.on_cpu() else "try --precision bf16 or --device cpu"
            return f"not enough memory for this photo; {remedy}"
        text = " ".join(str(error).split())[:300] or type(error).__name__
        return text if isinstance(error, SdicError) else f"{type(error).__name__}: {text}"


def _saved_path(item: Item) -> str:
    return within_limits(f"inversions/{item.stem}", ".safetensors")


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that finish what they have begun, and when the block is left early nothing more."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], tuple[Job, Outcome | None]],
    items: Sequence[Item],
    count: int,
) -> Iterator[tuple[Job, Outcome | None]]:
    """function(item) for every item in order, with up to `count` of them computed ahead."""
    jobs: deque[Future[tuple[Job, Outcome | None]]] = deque()
    for item in items:
        jobs.append(pool.submit(function, item))
        if len(jobs) > count:
            yield jobs.popleft().result()
    while jobs:
        yield jobs.popleft().result()
