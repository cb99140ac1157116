"""The loop: every picture is inverted once by each method, measured, edited, measured again, and noted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sdic.direction import Direction
from sdic.domains import Picture, Pictures
from sdic.evaluation.codes import Nearness
from sdic.evaluation.editing import edit_and_measure, label_of
from sdic.evaluation.methods import MethodEntry
from sdic.evaluation.metrics import at_input_size, measure
from sdic.evaluation.networks import MetricNetworks
from sdic.evaluation.progress import ProgressBar
from sdic.evaluation.results import ResultsFile
from sdic.methods import Inverter
from sdic.types import Inversion
from sdic.utils.images import write_png

INVERSION_METRICS = ("psnr", "ssim", "l2", "lpips", "id")
PICTURES = "pictures"


@dataclass
class Evaluation:
    """inversions: by method. edits: by method and way to edit ("" is the method's own).
    directions: by attribute; empty where nothing is edited. edited: keys of the pictures that are.
    on_sheet: those of them that the sheet has, and by how much: attribute -> change."""

    methods: Sequence[MethodEntry]
    networks: MetricNetworks
    inversions: dict[str, ResultsFile]
    edits: dict[tuple[str, str], ResultsFile]
    directions: dict[str, Direction]
    out: Path
    edited: set[str]
    on_sheet: Sequence[str]
    sheet_changes: dict[str, float]
    _warm: set[str] = field(default_factory=set)
    _nearness: dict[str, Nearness] = field(default_factory=dict)

    def run(self, pictures: Pictures, total: int) -> None:
        """Measure what is not in the results files."""
        with closing(ProgressBar(total, "measurement")) as progress:
            for entry in self.methods:
                entry.inverter.watch = progress.within
            for picture in pictures.read(self.lacking, self.lacking_edits):
                self._do(picture, progress)

    def lacking(self, key: str) -> bool:
        """Whether anything of a picture is still to be measured."""
        return any(key not in file for file in self.inversions.values()) or self.lacking_edits(key)

    def lacking_edits(self, key: str) -> bool:
        """Whether any edit of a picture is."""
        return any(self._lacks(file, key) for file in self.edits.values())

    def missing(self, keys: Sequence[str]) -> int:
        """How many measurements of these pictures are."""
        inversions = sum(key not in file for file in self.inversions.values() for key in keys)
        return inversions + sum(self._lacks(file, key) for file in self.edits.values() for key in keys)

    def nearness(self, entry: MethodEntry) -> Nearness:
        """What measures how near codes are to those of a method's generator; made when it is first asked for."""
        known = entry.inverter.fingerprint
        if known not in self._nearness:
            self._nearness[known] = Nearness(entry.inverter.generator)
        return self._nearness[known]

    def sheet_file(self, folder: str, key: str, attribute: str = "") -> str:
        """The file of a picture for the sheet, relative to `out`; `truths_folder` has photos and truths."""
        end = f"-{attribute}-{label_of(self.sheet_changes[attribute])}" if attribute else ""
        return f"{PICTURES}/{folder}/{key}{end}.png"

    def _lacks(self, results: ResultsFile, key: str) -> bool:
        if key not in self.edited:
            return False
        files = [self.sheet_file(results.name, key, name) for name in self.sheet_changes if key in self.on_sheet]
        return key not in results or not all((self.out / file).is_file() for file in files)

    def _do(self, picture: Picture, progress: ProgressBar) -> None:
        if picture.key in self.on_sheet and picture.truths:
            self._write_truths(picture)
        for entry in self.methods:
            results = self.inversions[entry.label]
            ways = {"": entry.inverter, **entry.inverter.variants()} if picture.truths else {}
            ways = {way: i for way, i in ways.items() if self._lacks(self.edits[entry.label, way], picture.key)}
            if picture.key in results and not ways:
                continue
            inversion, seconds = self._invert(entry, picture)
            if picture.key not in results:
                progress.step(f"inverting with {entry.label}")
                image = at_input_size(inversion.image, entry.inverter.measured)
                found = measure(self.networks.able(INVERSION_METRICS), picture.photo, image, self.networks)
                found |= self.nearness(entry).measure(inversion.latent)
                results.add(picture.key, {**{name: value[0] for name, value in found.items()}, "seconds": seconds})
            for way, inverter in ways.items():
                progress.step(f"editing with {entry.label}{f', {way}' if way else ''}")
                self._edit(inverter, self.edits[entry.label, way], picture, inversion)

    def _invert(self, entry: MethodEntry, picture: Picture) -> tuple[Inversion, float]:
        """The inversion and how long it took; the first one of a run, which is slow, is done twice, but not by methods
        that take minutes."""
        whole = entry.inverter.geometry != entry.inverter.measured and picture.large is not None
        photo: Any = picture.large if whole else picture.photo
        if entry.label not in self._warm and not entry.inverter.looks_through:
            entry.inverter.invert(photo)
            self._warm.add(entry.label)
        _wait(photo.device)
        start = time.perf_counter()
        inversion = entry.inverter.invert(photo)
        _wait(photo.device)
        return inversion, time.perf_counter() - start

    def _edit(self, inverter: Inverter, results: ResultsFile, picture: Picture, inversion: Inversion) -> None:
        """All edits of one picture in one way; noted when the pictures that the sheet has are written."""
        numbers = {}
        for name, truth in picture.truths.items():
            direction = self.directions[name]
            found = edit_and_measure(inverter, inversion, direction, name, picture.photo, truth, self.networks)
            numbers[name] = found.numbers
            if picture.key in self.on_sheet:
                place = truth.changes.index(self.sheet_changes[name])
                write_png(self.out / self.sheet_file(results.name, picture.key, name), found.pictures[place])
        results.add(picture.key, numbers)

    def _write_truths(self, picture: Picture) -> None:
        folder = truths_folder(picture.photo.shape[-1])
        write_png(self.out / self.sheet_file(folder, picture.key), picture.photo)
        for name, truth in picture.truths.items():
            place = truth.changes.index(self.sheet_changes[name])
            write_png(self.out / self.sheet_file(folder, picture.key, name), truth.pictures[place])


def truths_folder(size: int) -> str:
    """Where photos and truths for the sheet are."""
    return f"truth-{size}px"


def _wait(device: torch.device) -> None:
    """Until a GPU has done what it was given: its time is taken, not that of giving it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
