"""The way of a photo, from top to bottom: found (inputs.py), skipped or read, inverted, edited, written, reported.

`Pipeline.run` takes a list of files through it: one thread skips and reads ahead, the caller's inverts and edits,
two write. `Pipeline.one` takes one photo in memory the same way, without any folder.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdic.editing.masks import parts
from sdic.editing.words import Edit
from sdic.errors import CheckpointError, SdicError
from sdic.runner.amounts import Amounts, Reached
from sdic.runner.inputs import Content, InversionItem, Item
from sdic.runner.model import LazyModel
from sdic.runner.records import DONE, FAILED, FOLDER, SKIPPED, Outcome, OutputError, Record, decided, key_of, writing
from sdic.runner.report import Report
from sdic.types import Inversion
from sdic.utils.files import atomic_file, within_limits, write_atomic
from sdic.utils.images import fit, to_picture, to_tensor, write_png

WRITERS = 2
EARLY = 16
"""With more edits than these, each is written as soon as it is there."""
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

    outputs: every file it becomes.
    missing: those still to be made.
    facts: what its inversion depends on.
    start: what the model begins with, pixels [3, H, W] in [-1, 1], a code [L, D], or an inversion.
    inversion: of one image, on the CPU.
    pictures: by label, "inversion" and edits such as "age=3".
    amounts: by an edit's label, what was reached where a network measures it.
    notes: what its owner should know.
    seconds: the model's share.
    outcome: once it is finished.
    """

    item: Item
    record: Record = field(default_factory=Record)
    outputs: list[Output] = field(default_factory=list)
    missing: list[Output] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    start: Tensor | Inversion | None = None
    inversion: Inversion | None = None
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    amounts: dict[str, Reached] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    outcome: Outcome | None = None

    @property
    def is_photo(self) -> bool:
        """Whether it begins with pixels, which go through the model in groups."""
        return isinstance(self.start, Tensor) and self.start.ndim == 3

    def end(self, status: str, reason: str | None = None) -> None:
        """Give it its outcome."""
        outcome = self.outcome = Outcome(self.item.name, status, reason, self.notes)
        if status in (DONE, SKIPPED):
            outcome.outputs = [output.path for output in self.outputs]
            known = {output.label: self.record.reached(output.path) for output in self.outputs if output.label}
            outcome.amounts = {label: found for label, found in {**known, **self.amounts}.items() if found}
        if status == DONE:
            outcome.inversion, outcome.seconds = "computed" if self.is_photo else "saved", round(self.seconds, 4)


class Pipeline:
    """What is done to every photo of a run. report: gets every outcome. run: the mark of a run of several ranks, which
    read each other's outcomes in the records."""

    def __init__(self, model: LazyModel, edits: Sequence[Edit] = (), report: Report | None = None, run: str = ""):
        self.model, self.edits, self.settings, self.out = model, edits, model.settings, Path(model.settings.out)
        self._report, self._run = report or Report(0, quiet=True), run
        self._identities = {edit.label: edit.identity() for edit in edits}
        self._early = False

    def one(self, content: Content) -> Job:
        """A picture, an inversion or a code [L, D] in memory -> the job with its inversion, pictures and notes. Nothing
        is skipped or written; what is wrong with it is raised."""
        job = Job(Item(Path(), "photo", "photo"))
        job.missing = [Output("", "", label) for label in (INVERSION, *(edit.label for edit in self.edits))]
        self.read(job, content)
        self.edit([job], self.invert([job]))
        return job

    def run(self, items: Sequence[Item]) -> None:
        """Every item; an OutputError or ConfigError ends it early, everything else is an item's outcome. The report
        grows as files are finished: an interrupted run knows what it has."""
        self._early = True  # `one` gives its caller all pictures
        _ = self.model.identity, self.model.measure  # a weight file that cannot be read ends the run, not a photo
        size = self.settings.batch_size or (1 if self.model.on_cpu() or self.model.slow else 4)
        self.model.watch = self._report.within
        written: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1) as readers, ThreadPoolExecutor(WRITERS) as writers:
            try:
                for group in _groups(_ahead(readers, self._prepare, items, 2 * size), size):
                    if self.model.failure is not None:  # what is wrong with the model is wrong for every photo
                        raise self.model.failure
                    self._compute(group)
                    written += [writers.submit(self._finish, job) for job in group]
                    while len(written) > max(WRITERS, size):
                        written.popleft().result()
                for file in written:
                    file.result()
            finally:
                readers.shutdown(cancel_futures=True)

    def _prepare(self, item: Item) -> Job:
        """Skip or read, ahead of the model. Never raises for what is wrong with the item, which is its outcome."""
        job = Job(item, notes=list(item.notes), outcome=decided(item))
        try:
            if job.outcome is None:
                self.skip(job)
            if job.outcome is None and job.start is None:
                self.read(job, item.content(self.settings.max_pixels))
        except Exception as error:  # a damaged file can surprise its reader
            job.end(FAILED, self._why(error, item, "cannot be read"))
        return job

    def skip(self, job: Job) -> None:
        """Find out by the item's hash and its record what is missing. An inversion that an earlier run saved for the
        same photo, weights and settings spares reading and inverting."""
        item, out = job.item, self.out
        rule = self.settings.rule or "default"  # it was "" while the default was the paper's
        record = job.record = Record.load(out, item.stem)
        digest = item.digest(self.settings.max_pixels)
        options = {"options": json.dumps(self.settings.options, sort_keys=True)} if self.settings.options else {}
        options |= self.model.composed
        job.facts = {"photo": digest, **self.model.identity, "precision": self.settings.precision, **options}
        key = key_of(**job.facts)
        saved = within_limits(f"inversions/{item.stem}", ".safetensors")
        job.outputs.append(Output(within_limits(f"{INVERSION}/{item.stem}", ".png"), key, INVERSION))
        if self.settings.save_inversions and (out / saved).resolve() != item.path.resolve():
            job.outputs.append(Output(saved, key))
        if self.settings.save_latents:
            job.outputs.append(Output(within_limits(f"latents/{item.stem}", ".npy"), key))
        for edit in self.edits:
            path = within_limits(f"{edit.label}/{item.stem}", ".png")
            about = {"inside": edit.region.identity(item.stem)} if edit.region else {}
            about |= {"edit": self._identities[edit.label], **self.model.measure}
            job.outputs.append(Output(path, key_of(inversion=key, rule=rule, **about), edit.label))
        job.missing = [output for output in job.outputs if not record.is_done(output.path, output.key)]
        if job.missing and type(item) is Item and record.is_done(saved, key):
            with contextlib.suppress(CheckpointError):  # a damaged one is made again
                job.start = Inversion.load(out / saved)
        if not job.missing or job.start is not None:
            job.notes = list(record.warnings)
        if not job.missing:
            job.end(SKIPPED)

    def read(self, job: Job, content: Content) -> None:
        """Make of an item's content what the model begins with; a photo is fitted to the model's geometry."""
        if isinstance(content, Image.Image):
            picture, notes = fit(content, self.model.inverter.geometry)
            job.start = to_tensor(picture)
            job.notes += notes
        elif isinstance(content, Inversion) and len(content) != 1:
            raise CheckpointError(f"holds {len(content)} inversions; save them one by one")
        else:
            job.start = content

    def _compute(self, group: list[Job]) -> None:
        """A group through the model in one go; if that fails, one by one, to find the one that does it."""
        if group[0].outcome is not None:
            return
        for edit in self.edits:
            _ = self.model.directions(edit), self.model.measurer  # as the model: without them the run ends here
            list(parts(edit.region, self.model.inverter.geometry, {}))  # nor can a mask of another size, for any photo
        start, inverter, reason = time.perf_counter(), self.model.inverter, ""
        try:
            self.edit(group, self.invert(group))
        except OutputError:
            raise
        except Exception as error:
            reason = self._why(error, group[0].item, "cannot be inverted or edited")
        for job in group:
            job.seconds = (time.perf_counter() - start) / len(group)
        if reason and len(group) == 1:
            group[0].end(FAILED, reason)
        elif reason:
            if inverter.device.type == "cuda":
                torch.cuda.empty_cache()
            for job in group:
                self._compute([job])

    def invert(self, group: list[Job]) -> Inversion:
        """The inversion of a group in one: photos, or a single job of any kind."""
        starts: list[Any] = [job.start for job in group]
        if isinstance(starts[0], Inversion):
            return starts[0]
        if not group[0].is_photo:
            return self.model.inverter.from_latent(starts[0][None])
        return self.model.inverter.invert(torch.stack(starts))

    def edit(self, group: list[Job], inversion: Inversion) -> None:
        """Give every job of a group its part of the inversion, and the pictures that it lacks."""
        missing = [{output.label for output in job.missing} for job in group]
        inverter = self.model.inverter
        visible = inverter.geometry.visible
        lacking = {e.label: [index for index, labels in enumerate(missing) if e.label in labels] for e in self.edits}
        amounts = Amounts(self.model, self.edits, inversion, lacking)
        for edit in self.edits:
            wanted = lacking[edit.label]
            if wanted:
                directions, strengths = self.model.directions(edit), amounts.strengths(edit, wanted)
                for part, mask in parts(edit.region, inverter.geometry, {i: group[i].item.stem for i in wanted}):
                    own = [amount[[wanted.index(index) for index in part]] for amount in strengths]
                    images = inverter.edit(inversion[part], directions, own, mask, **self.model.edit_options)
                    for place, (index, image) in enumerate(zip(part, visible(images), strict=True)):
                        job = group[index]
                        job.pictures[edit.label] = to_picture(image)
                        job.amounts[edit.label], notes = amounts.reached(edit, index, images[place : place + 1])
                        job.notes += [note for note in notes if note not in job.notes]
                if self._early and len(self.edits) > EARLY:
                    self._write_early(edit, [group[index] for index in wanted])
        inversion = inversion.cpu()
        for index, job in enumerate(group):
            job.inversion = own = inversion[index]
            if INVERSION in missing[index]:
                job.pictures[INVERSION] = to_picture(visible(own.image))
            for label, image in zip(SMALL, (own.photo, own.extras.get("initial_image")), strict=True):
                if image is not None:
                    job.pictures[label] = to_picture(image)

    def _write_early(self, edit: Edit, jobs: list[Job]) -> None:
        """Write the pictures of one of many edits at once, so that memory does not grow with their number."""
        for job in jobs:
            output = next(output for output in job.missing if output.label == edit.label)
            self._write_one(job, output)
            job.missing.remove(output)
            del job.pictures[edit.label]

    def _finish(self, job: Job) -> None:
        """Write and report, behind the model."""
        if job.outcome is None:
            try:
                self.write(job)
                job.end(DONE)
            except OutputError:  # it is one for every further photo too
                raise
            except Exception as error:
                job.end(FAILED, self._why(error, job.item, "cannot be written"))
        self.report(job)

    def write(self, job: Job) -> None:
        """Write what is missing, each file whole or not at all."""
        for output in job.missing:
            self._write_one(job, output)
        for label in SMALL.keys() & job.pictures.keys():
            path = self.out / within_limits(f"{SMALL[label]}/{job.item.stem}", ".png")
            with writing(path, only_fatal=True):
                write_png(path, job.pictures[label])

    def _write_one(self, job: Job, output: Output) -> None:
        path = self.out / output.path
        with writing(path, only_fatal=True):
            if output.label:
                write_png(path, job.pictures[output.label])
            elif isinstance(job.item, InversionItem) and path.suffix != ".npy":
                write_atomic(path, job.item.path.read_bytes())
            else:
                assert job.inversion is not None
                if path.suffix == ".npy":
                    with atomic_file(path) as handle:
                        np.save(handle, job.inversion.latent[0].float().numpy())
                else:
                    name = job.item.name.encode("utf-8", "backslashreplace").decode()
                    job.inversion.save(path, {"name": name, **job.facts})
            job.record.add(output.path, output.key, job.amounts.get(output.label))

    def report(self, job: Job) -> None:
        """Say what became of it: in its record, after the files (a kill in between only means doing it again), and to
        the person. Of photos that it did not change, a run alone leaves the records alone."""
        assert job.outcome is not None
        if job.outcome.status == DONE:
            job.record.warnings = job.notes
        if job.outcome.status == DONE or (self._run and decided(job.item) is None):
            job.record.save(self._run, job.outcome)
        self._report.add(job.item, job.outcome)

    def _why(self, error: Exception, item: Item, what: str) -> str:
        """In one line, why something cannot be done with an item."""
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in str(error):
            remedy = "run it where more is free" if self.model.on_cpu() else "try --precision bf16 or --device cpu"
            return f"not enough memory for this photo; {remedy}"
        text = str(getattr(error, "strerror", None) or error).removeprefix(f"{item.path}: ")
        text = " ".join(text.split())[:300] or type(error).__name__
        if isinstance(error, SdicError):
            return text
        return f"{what} ({text})" if isinstance(error, OSError) else f"{what} ({type(error).__name__}: {text})"


def _ahead(pool: ThreadPoolExecutor, step: Callable[[Item], Job], items: Sequence[Item], count: int) -> Iterator[Job]:
    """step(item) for every item in order, with up to `count` of them done ahead."""
    jobs: deque[Future[Job]] = deque()
    for item in items:
        jobs.append(pool.submit(step, item))
        if len(jobs) > count:
            yield jobs.popleft().result()
    while jobs:
        yield jobs.popleft().result()


def _groups(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    """Photos that are to be inverted in groups of that size, everything else at once and alone."""
    photos: list[Job] = []
    for job in jobs:
        if job.outcome is None and job.is_photo:
            photos.append(job)
        else:
            yield [job]
        if len(photos) == size:
            yield photos
            photos = []
    if photos:
        yield photos
