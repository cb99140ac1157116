"""Raw photos in a run: which faces of a photo go to the model, and the edited ones back in their photo."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from PIL import Image

from sdic.errors import ImageError
from sdic.faces.alignment import FaceCrop
from sdic.faces.finding import Aligned
from sdic.faces.ownmode import ending_of, read_original, write_like
from sdic.faces.pasting import EditedFace, paste
from sdic.pictures import with_crops
from sdic.runner.jobs import Job
from sdic.runner.model import LazyModel
from sdic.runner.records import key_of, writing
from sdic.types import Inversion

NO_DETECTOR = (
    "no face detector is here (`sdic download faces`, once, 7 MB): square photos are taken as aligned, others fail; "
    "--align never takes every photo as it is"
)


def look(model: LazyModel, job: Job, photo: Image.Image) -> None:
    """Find out what of a photo the model is to look at: the crops of the faces that are meant, from left to right, or
    the photo itself. ImageError where there is no face, with what to do."""
    size, aligner = model.inverter.geometry.resolution, model.aligner
    job.seen = [Aligned(photo)] if aligner is None else aligner(photo, job.item.name, size)
    job.crops = [one.crop for one in job.seen if one.crop is not None]
    job.notes += dict.fromkeys(note for one in job.seen for note in one.notes)


def crops_become_facts(model: LazyModel, job: Job) -> str:
    """Give the job of a photo its crops, as its record says or by looking. Returns how the name of the edited photo
    ends: as its own, where its format can be written."""
    assert model.aligner is not None
    asked = key_of(photo=job.facts["photo"], **model.aligner.identity())
    known = _recorded(job.record.faces, asked)
    if known is None:
        photo = job.item.content(model.settings.max_pixels)
        assert isinstance(photo, Image.Image)
        look(model, job, photo)
        known = job.crops, ending_of(job.item.source(), job.item.name) if job.crops else ""
        job.record.faces = {"asked": asked, "crops": [crop.to_text() for crop in job.crops], "ending": known[1]}
    job.crops, ending = known
    if job.crops:
        job.facts["crops"] = json.dumps([crop.to_text() for crop in job.crops])
    return ending


def hand_out(inversion: Inversion, group: Sequence[Job]) -> None:
    """Give every job of a group its part of the inversion, with where its faces lie in the photo."""
    first = 0
    for job in group:
        last = first + len(job.marks)
        job.inversion, first = with_crops(inversion[first:last], job.crops), last


def write_photos(model: LazyModel, job: Job, before: str) -> None:
    """The raw photo with its edited faces, once for each missing edit. What is pasted is the difference between the
    edited crop and the one labelled `before`, so that an edit of nothing changes nothing."""
    outputs = [output for output in job.missing if output.photo]
    original = read_original(job.item.source(), model.settings.max_pixels) if outputs else None
    for output in outputs:
        assert original is not None
        path, faces = model.out / output.path, zip(job.crops, job.marks, strict=True)
        pictures = job.pictures
        edited = [EditedFace(pictures[output.label + mark], crop, pictures[before + mark]) for crop, mark in faces]
        with writing(path, only_fatal=True):
            write_like(path, paste(original.picture, edited), original)
        job.record.add(output.path, output.key)


def _recorded(faces: dict[str, Any], asked: str) -> tuple[list[FaceCrop], str] | None:
    """(crops, ending), where the record is of the same photo and settings; else None."""
    try:
        if faces["asked"] == asked and isinstance(faces["ending"], str):
            return [FaceCrop.from_text(text) for text in faces["crops"]], faces["ending"]
    except (KeyError, TypeError, ImageError):  # a record of an earlier version, or a damaged one
        pass
    return None
