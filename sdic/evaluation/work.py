"""The loop: every picture is inverted once by each method, measured, edited, measured again, and noted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from sdic.evaluation.contenders import Contender
from sdic.evaluation.domains import label_of
from sdic.evaluation.editing import edit_and_measure
from sdic.evaluation.journal import Journal
from sdic.evaluation.judges import MEASURES, Judges
from sdic.evaluation.metrics import measure, seen
from sdic.evaluation.progress import Progress
from sdic.evaluation.subjects import Subject, Subjects
from sdic.types import Direction, Inversion
from sdic.utils.images import write_png

PICTURES = "pictures"


@dataclass(frozen=True)
class Journals:
    """inversions: by method. edits: by method and way to edit ("" is the method's own)."""

    inversions: dict[str, Journal]
    edits: dict[tuple[str, str], Journal]


@dataclass
class Bench:
    """directions: by attribute; empty where nothing is edited. edited: keys of the pictures that are. shown: those of
    them that the sheet shows, and by how much: attribute -> change."""

    contenders: Sequence[Contender]
    judges: Judges
    journals: Journals
    directions: dict[str, Direction]
    out: Path
    edited: set[str] = field(default_factory=set)
    shown: Sequence[str] = ()
    shown_changes: dict[str, float] = field(default_factory=dict)
    _warm: set[str] = field(default_factory=set)

    def run(self, subjects: Subjects, total: int) -> None:
        """Measure what is not in the journals."""
        progress = Progress(total, "measurement")
        try:
            for subject in subjects.read(self.lacking, self.lacking_edits):
                self._do(subject, progress)
        finally:
            progress.close()

    def lacking(self, key: str) -> bool:
        """Whether anything of a picture is still to be measured."""
        return any(key not in journal for journal in self.journals.inversions.values()) or self.lacking_edits(key)

    def lacking_edits(self, key: str) -> bool:
        """Whether any edit of a picture is."""
        return any(self._lacks(journal, key) for journal in self.journals.edits.values())

    def missing(self, keys: Sequence[str]) -> int:
        """How many measurements of these pictures are."""
        inversions = sum(key not in journal for journal in self.journals.inversions.values() for key in keys)
        return inversions + sum(self._lacks(journal, key) for journal in self.journals.edits.values() for key in keys)

    def picture(self, folder: str, key: str, attribute: str = "") -> str:
        """The file of a picture for the sheet, relative to `out`; folder "truth" has photos and truths."""
        end = f"-{attribute}-{label_of(self.shown_changes[attribute])}" if attribute else ""
        return f"{PICTURES}/{folder}/{key}{end}.png"

    def _lacks(self, journal: Journal, key: str) -> bool:
        if key not in self.edited:
            return False
        files = [self.picture(journal.name, key, name) for name in self.shown_changes] if key in self.shown else []
        return key not in journal or not all((self.out / file).is_file() for file in files)

    def _do(self, subject: Subject, progress: Progress) -> None:
        if subject.key in self.shown and subject.truths:
            self._show_truths(subject)
        for contender in self.contenders:
            journal = self.journals.inversions[contender.label]
            ways = {"": contender.inverter, **contender.variants()} if subject.truths else {}
            ways = {
                way: i for way, i in ways.items() if self._lacks(self.journals.edits[contender.label, way], subject.key)
            }
            if subject.key in journal and not ways:
                continue
            inversion, seconds = self._invert(contender, subject)
            if subject.key not in journal:
                progress.step(f"inverting with {contender.label}")
                image = seen(inversion.image, contender.inverter.geometry)
                found = measure(MEASURES, subject.photo, image, self.judges.networks)
                journal.add(subject.key, {**{name: value[0] for name, value in found.items()}, "seconds": seconds})
            for way in ways:
                progress.step(f"editing with {contender.label}{f', {way}' if way else ''}")
                self._edit(contender, way, subject, inversion)

    def _invert(self, contender: Contender, subject: Subject) -> tuple[Inversion, float]:
        """The inversion and how long it took; the first one of a run, which is slow, is done twice."""
        if contender.label not in self._warm:
            contender.inverter.invert(subject.photo)
            self._warm.add(contender.label)
        _wait(subject.photo.device)
        start = time.perf_counter()
        inversion = contender.inverter.invert(subject.photo)
        _wait(subject.photo.device)
        return inversion, time.perf_counter() - start

    def _edit(self, contender: Contender, way: str, subject: Subject, inversion: Inversion) -> None:
        """All edits of one picture by one method; noted when the pictures that the sheet shows are written."""
        inverter = contender.variants()[way] if way else contender.inverter
        journal = self.journals.edits[contender.label, way]
        numbers = {}
        for name, truth in subject.truths.items():
            found = edit_and_measure(
                inverter, inversion, self.directions[name], name, subject.photo, truth, self.judges
            )
            numbers[name] = found.numbers
            if subject.key in self.shown:
                place = truth.changes.index(self.shown_changes[name])
                write_png(self.out / self.picture(journal.name, subject.key, name), found.pictures[place])
        journal.add(subject.key, numbers)

    def _show_truths(self, subject: Subject) -> None:
        folder = truths_folder(subject.photo.shape[-1])
        write_png(self.out / self.picture(folder, subject.key), subject.photo)
        for name, truth in subject.truths.items():
            place = truth.changes.index(self.shown_changes[name])
            write_png(self.out / self.picture(folder, subject.key, name), truth.pictures[place])


def truths_folder(size: int) -> str:
    """Where photos and truths for the sheet are."""
    return f"truth-{size}px"


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was given: its time is taken, not that of giving it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
