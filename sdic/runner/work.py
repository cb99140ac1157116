"""The loop: batches through the model, files written behind it, and one bad photo never costs another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from PIL import Image

from sdic.errors import SdicError
from sdic.runner.inputs import Item
from sdic.runner.latents import write_code
from sdic.runner.model import LazyModel
from sdic.runner.prepare import Plan, Prepared
from sdic.runner.records import FOLDER, OutputError, writing
from sdic.runner.report import DONE, FAILED, IGNORED, SKIPPED, Outcome
from sdic.types import Inversion
from sdic.utils.files import within_limits, write_atomic
from sdic.utils.images import to_picture, write_png

T = TypeVar("T")
WRITERS = 2
PHOTO, INITIAL = f"{FOLDER}/photo", f"{FOLDER}/initial"
"""Where the small pictures for the contact sheet are."""


class Worker:
    """Does the items of one process. `outcomes` grows as files are finished: an interrupted run knows what it has."""

    def __init__(self, plan: Plan, model: LazyModel, progress: Callable[[Outcome], None]):
        self.plan, self.model = plan, model
        self.outcomes: list[Outcome] = []
        self._progress = progress
        self._pending: deque[tuple[Prepared, Future[Outcome]]] = deque()
        self._writers: ThreadPoolExecutor

    def run(self, items: Sequence[Item]) -> None:
        """Every item, in order; an OutputError or ConfigError ends it early, everything else is an item's outcome."""
        size = self.plan.settings.batch_size or (1 if self.model.on_cpu() else 4)
        try:
            with _pool(1) as readers, _pool(WRITERS) as self._writers:
                batch: list[Prepared] = []
                for prepared in _ahead(readers, self.plan.prepare, items, 2 * size):
                    if self.model.failure is not None:
                        raise self.model.failure
                    if prepared.problem is not None:
                        status = IGNORED if prepared.item.ignored else FAILED
                        self._put(_outcome(prepared, status, reason=prepared.problem))
                    elif not prepared.missing:
                        prepared.notes = list(prepared.record.warnings)
                        self._put(_outcome(prepared, SKIPPED))
                    elif prepared.photo is None:
                        self._together([prepared])  # from a saved inversion, or a code
                    else:
                        batch.append(prepared)
                    if len(batch) == size:
                        self._together(batch)
                        batch = []
                if batch:
                    self._together(batch)
                self._collect(0)
        finally:
            for _, job in self._pending:  # interrupted: what the writers had finished all the same
                if job.done() and not job.cancelled() and job.exception() is None:
                    self._put(job.result())
            self._pending.clear()

    def _together(self, group: list[Prepared]) -> None:
        """A group through the model in one go; if that fails, one by one, to find the one that does it."""
        if any(prepared.inversion is None or any(o.edit for o in prepared.missing) for prepared in group):
            _ = self.model.inverter  # what is wrong with the model is wrong for every photo
            for edit in self.plan.edits:
                self.model.directions(edit)
        start = time.perf_counter()
        try:
            inversion, edited = self._compute(group)
        except Exception as error:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if len(group) > 1:
                for prepared in group:
                    self._together([prepared])
            else:
                self._put(_outcome(group[0], FAILED, reason=_why(error, self.model.on_cpu())))
            return
        seconds = (time.perf_counter() - start) / len(group)
        for index, prepared in enumerate(group):
            job = self._writers.submit(self._write, prepared, inversion[index], edited, seconds)
            self._pending.append((prepared, job))
        self._collect(max(WRITERS, len(group)))

    def _compute(self, group: list[Prepared]) -> tuple[Inversion, dict[str, Image.Image]]:
        """The group's inversion on the CPU, and the picture of every missing edit by its path."""
        if group[0].inversion is not None:
            inversion = group[0].inversion
        elif group[0].code is not None:
            inversion = self.model.inverter.from_latent(group[0].code[None])
        else:
            photos = torch.stack([prepared.photo for prepared in group if prepared.photo is not None])
            inversion = self.model.inverter.invert(photos)
        edited = {}
        for edit in self.plan.edits:
            wanted = [
                (index, output.path)
                for index, prepared in enumerate(group)
                for output in prepared.missing
                if output.edit == edit
            ]
            if wanted:
                part = inversion[[index for index, _ in wanted]]
                rule = self.plan.settings.rule
                strengths = [torch.tensor(strength) for strength in edit.strengths]
                images = self.model.inverter.edit(part, self.model.directions(edit), strengths, rule)  # type: ignore[arg-type]
                images = self.plan.geometry().visible(images)
                edited.update({path: to_picture(image) for (_, path), image in zip(wanted, images, strict=True)})
        return inversion.cpu(), edited

    def _write(
        self, prepared: Prepared, inversion: Inversion, edited: dict[str, Image.Image], seconds: float
    ) -> Outcome:
        """Write what was missing, then the record: a kill in between only means doing it again."""
        out, record = self.plan.out, prepared.record
        for output in prepared.missing:
            with writing(out / output.path, only_fatal=True):
                if output.edit is not None:
                    write_png(out / output.path, edited[output.path])
                elif output.path.endswith(".png"):
                    write_png(out / output.path, self.plan.geometry().visible(inversion.image)[0])
                elif output.path.endswith(".npy"):
                    write_code(out / output.path, inversion.latent[0])
                elif prepared.item.is_inversion:
                    write_atomic(out / output.path, prepared.item.path.read_bytes())
                else:
                    inversion.save(out / output.path, {"name": _printable(prepared.item.name), **prepared.facts})
                record.add(output.path, output.key)
        for folder, tensor in ((PHOTO, inversion.photo), (INITIAL, inversion.initial_image)):
            if tensor is not None:
                path = out / within_limits(f"{folder}/{prepared.item.stem}", ".png")
                with writing(path, only_fatal=True):
                    write_png(path, to_picture(tensor))
        record.warnings = prepared.notes
        with writing(record.path, only_fatal=True):
            record.save()
        kind = "computed" if prepared.photo is not None else "saved"
        return _outcome(prepared, DONE, inversion=kind, seconds=round(seconds, 4))

    def _collect(self, most: int) -> None:
        """Take the results of writers until at most so many are unfinished."""
        while len(self._pending) > most or (self._pending and self._pending[0][1].done()):
            prepared, job = self._pending.popleft()
            try:
                self._put(job.result())
            except OutputError:
                raise
            except Exception as error:
                self._put(_outcome(prepared, FAILED, reason=_why(error, self.model.on_cpu())))

    def _put(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._progress(outcome)


@contextmanager
def _pool(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that finish what they have begun, and when the block is left early nothing more."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Prepared], items: Sequence[Item], count: int
) -> Iterator[Prepared]:
    """function(item) for every item in order, with up to `count` of them computed ahead."""
    jobs: deque[Future[Prepared]] = deque()
    rest = iter(items)
    for item in rest:
        jobs.append(pool.submit(function, item))
        if len(jobs) > count:
            yield jobs.popleft().result()
    while jobs:
        yield jobs.popleft().result()


def _outcome(prepared: Prepared, status: str, **more: object) -> Outcome:
    outputs = [output.path for output in prepared.outputs] if status in (DONE, SKIPPED) else []
    return Outcome(prepared.item.name, status, warnings=prepared.notes, outputs=outputs, **more)  # type: ignore[arg-type]


def _why(error: Exception, on_cpu: bool) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "out of memory" in str(error):
        remedy = "run it where more is free" if on_cpu else "try --precision bf16 or --device cpu"
        return f"not enough memory for this photo; {remedy}"
    text = " ".join(str(error).split())[:300] or type(error).__name__
    return text if isinstance(error, SdicError) else f"{type(error).__name__}: {text}"


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()
