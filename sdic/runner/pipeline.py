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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdic.editing.words import Edit
from sdic.errors import CheckpointError, SdicError
from sdic.faces.alignment import FaceCrop
from sdic.faces.finding import Aligned
from sdic.runner import raw
from sdic.runner.flow import ahead, groups
from sdic.runner.inputs import Content, InversionItem, Item, VideoItem
from sdic.runner.model import LazyModel
from sdic.runner.records import DONE, FAILED, FOLDER, SKIPPED, Outcome, OutputError, Record, decided, key_of, writing
from sdic.runner.report import Report
from sdic.runner.video import edit_video
from sdic.types import Inversion
from sdic.utils.files import atomic_file, within_limits, write_atomic
from sdic.utils.images import fit, to_picture, to_tensor, write_png
from sdic.utils.video import Video, ending_for

WRITERS = 2
INVERSION = "inversion"
SMALL = {"photo": f"{FOLDER}/photo", "first reconstruction": f"{FOLDER}/initial"}
"""Label -> folder of the small pictures for the contact sheet."""


@dataclass(frozen=True)
class Output:
    """A file to make. path: relative to OUT. key: what it depends on. label: of the picture in it, "" for none.
    face: of a photo with several, which one, from 0. photo: whether it is the photo with that edit in it, not a crop.
    """

    path: str
    key: str
    label: str = ""
    face: int = 0
    photo: bool = False


@dataclass
class Job:
    """An item on its way.

    outputs: every file it becomes.
    missing: those still to be made.
    facts: what its inversion depends on.
    seen: what of a photo the model is to look at, once that is known.
    crops: where that lies in a raw photo, a crop for each face; none where it is the photo itself.
    start: what the model begins with, pixels [F, 3, H, W] in [-1, 1] of F faces, a code [L, D], an inversion, or a
        video.
    inversion: of F images, on the CPU.
    pictures: by label, "inversion" and edits such as "age=3"; behind it the face's mark where there are several.
    notes: what its owner should know.
    seconds: the model's share.
    outcome: once it is finished.
    """

    item: Item
    record: Record = field(default_factory=Record)
    outputs: list[Output] = field(default_factory=list)
    missing: list[Output] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    seen: list[Aligned] = field(default_factory=list)
    crops: list[FaceCrop] = field(default_factory=list)
    start: Tensor | Inversion | Video | None = None
    inversion: Inversion | None = None
    pictures: dict[str, Image.Image] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    outcome: Outcome | None = None

    @property
    def is_photo(self) -> bool:
        """Whether it begins with pixels, which go through the model in groups."""
        return isinstance(self.start, Tensor) and self.start.ndim == 4

    @property
    def marks(self) -> list[str]:
        """A mark for each face, as in names of files."""
        return raw.marks(len(self.crops))

    def wanted(self) -> set[str]:
        """Labels of the pictures that the missing outputs are made of."""
        photos = {output.label for output in self.missing if output.photo}
        pasted = {label + mark for label in photos for mark in self.marks}
        pasted |= {INVERSION + mark for mark in self.marks if photos}
        return pasted | {output.label for output in self.missing if not output.photo}

    def end(self, status: str, reason: str | None = None) -> None:
        """Give it its outcome."""
        outcome = self.outcome = Outcome(self.item.name, status, reason, self.notes)
        if status in (DONE, SKIPPED):
            outcome.outputs = [output.path for output in self.outputs]
        if status == DONE:
            computed = self.is_photo or isinstance(self.start, Video)
            outcome.inversion, outcome.seconds = "computed" if computed else "saved", round(self.seconds, 4)


class Pipeline:
    """What is done to every photo of a run. report: gets every outcome. run: the mark of a run of several ranks, which
    read each other's outcomes in the records."""

    def __init__(self, model: LazyModel, edits: Sequence[Edit] = (), report: Report | None = None, run: str = ""):
        self.model, self.edits, self.settings, self.out = model, edits, model.settings, model.out
        self._report, self._run = report or Report(0, quiet=True), run
        self._identities = {edit.label: edit.identity() for edit in edits}

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
        _ = self.model.identity  # a weight file that cannot be read ends the run, not a photo
        size = self.model.at_once
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
        job.facts = {"photo": digest, **self.model.identity, "precision": self.settings.precision, **options}
        raw_photo = type(item) is Item and self.model.aligner is not None
        ending = raw.crops_become_facts(self.model, job) if raw_photo else ""
        if isinstance(item, VideoItem):
            self._skip_video(job, item.content(self.settings.max_pixels), rule)
            return
        key = key_of(**job.facts)
        saved = [within_limits(f"inversions/{item.stem}{mark}", ".safetensors") for mark in job.marks]
        for face, mark in enumerate(job.marks):
            job.outputs.append(Output(within_limits(f"{INVERSION}/{item.stem}{mark}", ".png"), key, INVERSION + mark))
            if self.settings.save_inversions and (out / saved[face]).resolve() != item.path.resolve():
                job.outputs.append(Output(saved[face], key, face=face))
            if self.settings.save_latents:
                job.outputs.append(Output(within_limits(f"latents/{item.stem}{mark}", ".npy"), key, face=face))
            for label, identity in self._identities.items():
                path = within_limits(f"{'crops/' if job.crops else ''}{label}/{item.stem}{mark}", ".png")
                job.outputs.append(Output(path, key_of(inversion=key, rule=rule, edit=identity), label + mark))
        for label, identity in self._identities.items() if job.crops else ():
            path = within_limits(f"{label}/{item.stem}", ending)
            job.outputs.append(Output(path, key_of(photo=key, rule=rule, edit=identity), label, photo=True))
        job.missing = [output for output in job.outputs if not record.is_done(output.path, output.key)]
        if job.missing and type(item) is Item and all(record.is_done(file, key) for file in saved):
            with contextlib.suppress(CheckpointError, ValueError):  # a damaged one is made again
                job.start = Inversion.cat([Inversion.load(out / file) for file in saved])
        if not job.missing or job.start is not None:
            job.notes = list(record.warnings)
        if not job.missing:
            job.end(SKIPPED)

    def _skip_video(self, job: Job, video: Video, rule: str) -> None:
        """`skip` for a video, which becomes a video for each edit."""
        job.start = video
        job.notes += video.notes
        aligning = {} if self.model.aligner is None else self.model.aligner.identity()
        for label, identity in self._identities.items():
            path = within_limits(f"{label}/{job.item.stem}", ending_for(video))
            job.outputs.append(Output(path, key_of(**job.facts, **aligning, rule=rule, edit=identity), label))
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
            self.model.directions(edit)  # as the model itself: if it cannot be had, the run ends here
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
        for edit in self.edits:
            wanted = [index for index, (_, mark) in enumerate(rows) if edit.label + mark in missing[index]]
            if wanted:
                directions, strengths = self.model.directions(edit), [torch.tensor(s) for s in edit.strengths]
                images = inverter.edit(inversion[wanted], directions, strengths, **self.model.edit_options)
                for index, image in zip(wanted, visible(images), strict=True):
                    rows[index][0].pictures[edit.label + rows[index][1]] = to_picture(image)
        inversion = inversion.cpu()
        for index, (job, mark) in enumerate(rows):
            own = inversion[index]
            if INVERSION + mark in missing[index]:
                job.pictures[INVERSION + mark] = to_picture(visible(own.image))
            for label, image in zip(SMALL, (own.photo, own.extras.get("initial_image")), strict=True):
                if image is not None:
                    job.pictures[label + mark] = to_picture(image)
        raw.hand_out(inversion, group)

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
        assert job.inversion is not None
        for output in (output for output in job.missing if not output.photo):
            path = self.out / output.path
            with writing(path, only_fatal=True):
                if output.label:
                    write_png(path, job.pictures[output.label])
                elif path.suffix == ".npy":
                    with atomic_file(path) as handle:
                        np.save(handle, job.inversion.latent[output.face].float().numpy())
                elif isinstance(job.item, InversionItem):
                    write_atomic(path, job.item.path.read_bytes())
                else:
                    name = job.item.name.encode("utf-8", "backslashreplace").decode()
                    job.inversion[output.face].save(path, {"name": name, **job.facts})
                job.record.add(output.path, output.key)
        for label, mark in ((label, mark) for label in SMALL for mark in job.marks if label + mark in job.pictures):
            path = self.out / within_limits(f"{SMALL[label]}/{job.item.stem}{mark}", ".png")
            with writing(path, only_fatal=True):
                write_png(path, job.pictures[label + mark])
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
