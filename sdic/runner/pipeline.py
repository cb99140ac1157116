"""The way of a photo, from top to bottom: found (inputs.py), skipped or read, inverted, edited, written, reported.

`Pipeline.run` takes a list of files through it: one thread skips and reads ahead, the caller's inverts and edits,
two write. `Pipeline.one` takes one photo in memory the same way, without any folder.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from sdic.editing.masks import parts
from sdic.editing.words import Edit
from sdic.errors import CheckpointError, SdicError
from sdic.runner import raw
from sdic.runner.amounts import Amounts
from sdic.runner.flow import ahead, groups
from sdic.runner.inputs import Content, Item, VideoItem
from sdic.runner.jobs import INVERSION, SMALL, Job, Output
from sdic.runner.model import LazyModel
from sdic.runner.outputs import write_output, write_small
from sdic.runner.records import DONE, FAILED, SKIPPED, OutputError, Record, decided, key_of
from sdic.runner.report import Report
from sdic.runner.video import edit_video
from sdic.types import Inversion
from sdic.utils.files import within_limits
from sdic.utils.images import fit, to_picture, to_tensor
from sdic.utils.video import Video, ending_for

WRITERS = 2
EARLY = 16
"""With more edits than these, each is written as soon as it is there."""


class Pipeline:
    """What is done to every photo of a run. report: gets every outcome. run: the mark of a run of several ranks, which
    read each other's outcomes in the records."""

    def __init__(self, model: LazyModel, edits: Sequence[Edit] = (), report: Report | None = None, run: str = ""):
        self.model, self.edits, self.settings, self.out = model, edits, model.settings, model.out
        self._report, self._run = report or Report(0, quiet=True), run
        self._identities = {edit.label: edit.identity() for edit in edits}
        self._early = False

    def one(self, content: Content) -> Job:
        """A picture, an inversion or a code [L, D] in memory -> the job with its inversion, pictures and notes. Nothing
        is skipped or written; what is wrong with it is raised."""
        job = Job(Item(Path(), "photo", "photo"))
        self.read(job, content)
        labels = [label + mark for label in (INVERSION, *(edit.label for edit in self.edits)) for mark in job.marks]
        job.missing = [Output("", "", label) for label in labels]
        self.edit([job], self.invert([job]))
        return job

    def run(self, items: Sequence[Item]) -> None:
        """Every item; an OutputError or ConfigError ends it early, everything else is an item's outcome. The report
        grows as files are finished: an interrupted run knows what it has."""
        self._early = True  # `one` gives its caller all pictures
        _ = self.model.identity, self.model.measure  # a weight file that cannot be read ends the run, not a photo
        size = 1 if self.model.slow and not self.settings.batch_size else self.model.at_once
        self.model.watch = self._report.within
        written: deque[Future[None]] = deque()
        with ThreadPoolExecutor(1) as readers, ThreadPoolExecutor(WRITERS) as writers:
            try:
                for group in groups(ahead(readers, self._prepare, items, 2 * size), size):
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
                self.read(job)
        except Exception as error:  # a damaged file can surprise its reader
            job.end(FAILED, self._why(error, item, "cannot be read"))
        return job

    def skip(self, job: Job) -> None:
        """Find out by the item's hash and its record what is missing. An inversion that an earlier run saved for the
        same photo, weights and settings spares reading and inverting. What may be a raw photo is looked at, unless its
        record says what is in it."""
        item, out = job.item, self.out
        rule = self.settings.rule or "default"  # it was "" while the default was the paper's
        record = job.record = Record.load(out, item.stem)
        digest = item.digest(self.settings.max_pixels)
        options = {"options": json.dumps(self.settings.options, sort_keys=True)} if self.settings.options else {}
        options |= self.model.composed
        job.facts = {"photo": digest, **self.model.identity, "precision": self.settings.precision, **options}
        raw_photo = type(item) is Item and self.model.aligner is not None
        ending = raw.crops_become_facts(self.model, job) if raw_photo else ""
        if isinstance(item, VideoItem):
            self._skip_video(job, item.content(self.settings.max_pixels), rule)
            return
        key = key_of(**job.facts)
        about = {edit.label: self._about(edit, job, rule) for edit in self.edits}
        saved = [within_limits(f"inversions/{item.stem}{mark}", ".safetensors") for mark in job.marks]
        for face, mark in enumerate(job.marks):
            job.outputs.append(Output(within_limits(f"{INVERSION}/{item.stem}{mark}", ".png"), key, INVERSION + mark))
            if self.settings.save_inversions and (out / saved[face]).resolve() != item.path.resolve():
                job.outputs.append(Output(saved[face], key, face=face))
            if self.settings.save_latents:
                job.outputs.append(Output(within_limits(f"latents/{item.stem}{mark}", ".npy"), key, face=face))
            for label, facts in about.items():
                path = within_limits(f"{'crops/' if job.crops else ''}{label}/{item.stem}{mark}", ".png")
                job.outputs.append(Output(path, key_of(inversion=key, **facts), label + mark))
        for label, facts in about.items() if job.crops else ():
            path = within_limits(f"{label}/{item.stem}", ending)
            job.outputs.append(Output(path, key_of(photo=key, **facts), label, photo=True))
        job.missing = [output for output in job.outputs if not record.is_done(output.path, output.key)]
        if job.missing and type(item) is Item and all(record.is_done(file, key) for file in saved):
            with contextlib.suppress(CheckpointError, ValueError):  # a damaged one is made again
                job.start = Inversion.cat([Inversion.load(out / file) for file in saved])
        if not job.missing or job.start is not None:
            job.notes = list(record.warnings)
        if not job.missing:
            job.end(SKIPPED)

    def _about(self, edit: Edit, job: Job, rule: str) -> dict[str, Any]:
        """What an edit of a photo depends on, beside its inversion."""
        inside = {"inside": edit.region.identity(job.item.stem)} if edit.region else {}
        return {"rule": rule, "edit": self._identities[edit.label], **inside, **self.model.measure}

    def _skip_video(self, job: Job, video: Video, rule: str) -> None:
        """`skip` for a video, which becomes a video for each edit."""
        job.start = video
        job.notes += video.notes
        aligning = {} if self.model.aligner is None else self.model.aligner.identity()
        for edit in self.edits:
            path, facts = (
                within_limits(f"{edit.label}/{job.item.stem}", ending_for(video)),
                self._about(edit, job, rule),
            )
            job.outputs.append(Output(path, key_of(**job.facts, **aligning, **facts), edit.label))
        job.missing = [output for output in job.outputs if not job.record.is_done(output.path, output.key)]
        if not job.missing:
            job.end(SKIPPED)

    def read(self, job: Job, content: Content | None = None) -> None:
        """Make of an item's content what the model begins with, if it was not looked at before; photos are fitted."""
        if content is None and not job.seen:
            content = job.item.content(self.settings.max_pixels)
        if isinstance(content, Image.Image):
            raw.look(self.model, job, content)
        if job.seen:
            fitted = [fit(one.picture, self.model.inverter.geometry) for one in job.seen]
            job.start, job.seen = torch.stack([to_tensor(picture) for picture, _ in fitted]), []
            job.notes += dict.fromkeys(note for _, notes in fitted for note in notes)
        elif isinstance(content, Inversion) and len(content) != 1:
            raise CheckpointError(f"holds {len(content)} inversions; save them one by one")
        elif not isinstance(content, Image.Image):
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
            if isinstance(group[0].start, Video):
                labels = {output.label for output in group[0].missing}
                frames = Pipeline(self.model, [edit for edit in self.edits if edit.label in labels])
                edit_video(frames, group[0], INVERSION, self._report.say)
            else:
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
        return self.model.inverter.invert(torch.cat(starts))

    def edit(self, group: list[Job], inversion: Inversion) -> None:
        """Give every job of a group its part of the inversion, and the pictures that it lacks."""
        rows = [(job, mark) for job in group for mark in job.marks]
        missing = [job.wanted() for job, _ in rows]
        inverter = self.model.inverter
        visible = inverter.geometry.visible
        lacking = {
            edit.label: [index for index, (_, mark) in enumerate(rows) if edit.label + mark in missing[index]]
            for edit in self.edits
        }
        amounts = Amounts(self.model, self.edits, inversion, lacking)
        for edit in self.edits:
            wanted = lacking[edit.label]
            if wanted:
                directions, strengths = self.model.directions(edit), amounts.strengths(edit, wanted)
                names = {index: rows[index][0].item.stem for index in wanted}
                for part, mask in parts(edit.region, inverter.geometry, names):
                    taken = [amount[[wanted.index(index) for index in part]] for amount in strengths]
                    images = inverter.edit(inversion[part], directions, taken, mask, **self.model.edit_options)
                    for place, (index, image) in enumerate(zip(part, visible(images), strict=True)):
                        job, label = rows[index][0], edit.label + rows[index][1]
                        job.pictures[label] = to_picture(image)
                        job.amounts[label], notes = amounts.reached(edit, index, images[place : place + 1])
                        job.notes += [note for note in notes if note not in job.notes]
                if self._early and len(self.edits) > EARLY:
                    self._write_early(edit, [job for job, _ in map(rows.__getitem__, wanted) if not job.crops])
        inversion = inversion.cpu()
        for index, (job, mark) in enumerate(rows):
            own = inversion[index]
            if INVERSION + mark in missing[index]:
                job.pictures[INVERSION + mark] = to_picture(visible(own.image))
            for label, image in zip(SMALL, (own.photo, own.extras.get("initial_image")), strict=True):
                if image is not None:
                    job.pictures[label + mark] = to_picture(image)
        raw.hand_out(inversion, group)

    def _write_early(self, edit: Edit, jobs: list[Job]) -> None:
        """Write the pictures of one of many edits at once, so that memory does not grow with their number."""
        for job in jobs:
            output = next(output for output in job.missing if output.label == edit.label)
            write_output(self.out, job, output)
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
        if isinstance(job.start, Video):  # written frame by frame
            return
        for output in (output for output in job.missing if not output.photo):
            write_output(self.out, job, output)
        write_small(self.out, job)
        raw.write_photos(self.model, job, INVERSION)

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
