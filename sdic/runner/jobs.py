"""A photo on its way through a run: what is to be made of it, and what there is already. F faces."""

from __future__ import annotations

from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

from sdic.faces.alignment import FaceCrop
from sdic.faces.finding import Aligned
from sdic.runner.amounts import Reached
from sdic.runner.inputs import Item
from sdic.runner.records import DONE, FOLDER, SKIPPED, Outcome, Record
from sdic.types import Inversion
from sdic.utils.video import Video

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


def face_marks(count: int) -> list[str]:
    """What distinguishes the faces of one photo in names of files and pictures; nothing where there is one."""
    return [""] if count < 2 else [f"-face{number}" for number in range(1, count + 1)]


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
    amounts: by such a label, what was reached where a network measures it.
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
    amounts: dict[str, Reached] = field(default_factory=dict)
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
        return face_marks(len(self.crops))

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
            known = {output.label: self.record.reached(output.path) for output in self.outputs if output.label}
            outcome.amounts = {label: found for label, found in {**known, **self.amounts}.items() if found}
        if status == DONE:
            computed = self.is_photo or isinstance(self.start, Video)
            outcome.inversion, outcome.seconds = "computed" if computed else "saved", round(self.seconds, 4)
