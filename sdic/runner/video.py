"""Video files in `sdic edit`: every frame aligned by smoothed points, inverted, edited and pasted back, the sound kept.

The video is read twice: for the points of all frames, and frame by frame to be edited. Memory is that of some frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from sdic.errors import ImageError
from sdic.faces.alignment import cut, ffhq_quad, is_aligned
from sdic.faces.finding import NO_FACE, SMALLEST, Aligner
from sdic.faces.pasting import EditedFace, paste
from sdic.faces.points import Array, Face, faces_for
from sdic.faces.tracking import Track, chosen, follow, smoothed
from sdic.runner.jobs import Job
from sdic.runner.records import writing
from sdic.types import Geometry
from sdic.utils.images import fit, to_tensor
from sdic.utils.video import Frame, Video, VideoWriter

if TYPE_CHECKING:
    from sdic.runner.pipeline import Pipeline

EVERY = 10.0  # seconds between two words on how far it is


def edit_video(pipeline: Pipeline, job: Job, inversion: str, say: Callable[[str], None]) -> None:
    """Write the missing outputs of a video's job, each whole or not at all.

    pipeline: inverts and edits frames by the edits that are missing. inversion: the label of inversions. ImageError for
    a video without a face; CheckpointError where nothing that finds faces is here.
    """
    video, aligner = job.start, pipeline.model.aligner
    assert isinstance(video, Video)
    tracks = None if aligner is None else _tracks(video, job.item.name, aligner, say)
    geometry = pipeline.model.inverter.geometry
    first, size = job.missing[0], pipeline.model.at_once
    count = without = 0
    heard = time.monotonic()
    with writing(pipeline.out, only_fatal=True), ExitStack() as stack:
        files = {
            output.label: stack.enter_context(VideoWriter(pipeline.out / output.path, video.fps, video.path, video))
            for output in job.missing
        }
        frames = video.timed()
        while group := list(islice(frames, size)):
            jobs = [_of_frame(job, frame, tracks, count + k, geometry) for k, (_, frame) in enumerate(group)]
            for one in jobs:
                labels = [*files, *([inversion] if one.crops else [])]
                one.missing = [replace(first, label=label + mark) for label in labels for mark in one.marks]
            shown = [one for one in jobs if one.start is not None]
            if shown:
                pipeline.edit(shown, pipeline.invert(shown))
            for (seconds, frame), one in zip(group, jobs, strict=True):
                _write(files, seconds, frame, one, inversion)
            count, without = count + len(group), without + len(jobs) - len(shown)
            if time.monotonic() - heard > EVERY:
                heard = time.monotonic()
                say(f"{job.item.name}: {count} of {video.count or 'unknown'} frames")
    for output in job.missing:
        job.record.add(output.path, output.key)
    job.notes += [f"no face in {without} of {count} frames, which are as they were"] if without else []


def _tracks(video: Video, name: str, aligner: Aligner, say: Callable[[str], None]) -> list[Track] | None:
    """The faces that are meant, smoothed; None for a video that is aligned already."""
    say(f"{name}: looking for faces in {video.count or 'all'} frames")
    known, settings = faces_for(aligner.landmarks, name), aligner.settings
    if settings.landmarks and not known:
        raise ImageError(f"{settings.landmarks} has no landmarks of it: one line for the video, or one for each frame")
    number = -1

    def faces() -> Iterator[list[Face]]:
        nonlocal number
        for number, frame in enumerate(video):
            if known:
                yield known[number : number + 1] if len(known) > 1 else known
            else:
                yield aligner.faces(Image.fromarray(frame))

    tracks = chosen(follow(faces(), video.fps), settings.face)
    if len(known) > 1 and len(known) != number + 1:
        raise ImageError(f"{settings.landmarks} has {len(known)} lines for its {number + 1} frames")
    if not tracks:
        raise ImageError(f"no face was found; {NO_FACE}" if settings.face == "largest" else f"no face {settings.face}")
    middle = Face(np.median(list(tracks[0].values()), axis=0))
    if settings.align == "auto" and not known and is_aligned(video.size, middle):
        return None
    return [smoothed(track, video.fps) for track in tracks]


def _of_frame(job: Job, frame: Frame, tracks: list[Track] | None, number: int, geometry: Geometry) -> Job:
    """A frame on its way: its crops, and what the model begins with; nothing where there is no face in it."""
    one, photo = type(job)(job.item), Image.fromarray(frame)
    if tracks is None:
        pictures = [photo]
    else:
        quads = [quad for track in tracks if number in track and (quad := _quad(track[number])) is not None]
        cuts = [cut(photo, quad, geometry.resolution, "video") for quad in quads if _lies_in(photo, quad)]
        pictures, one.crops = [picture for picture, _ in cuts], [crop for _, crop in cuts]
    if pictures:
        one.start = torch.stack([to_tensor(fit(picture, geometry)[0]) for picture in pictures])
    return one


def _quad(points: Array) -> Array | None:
    """None for a face that is too small."""
    quad = ffhq_quad(Face(points))
    return quad if np.hypot(*(quad[3] - quad[0])) >= SMALLEST else None


def _lies_in(photo: Image.Image, quad: Array) -> bool:
    """Whether the middle of a crop lies in the photo: a face may leave the picture."""
    return bool(((quad.mean(0) >= 0) & (quad.mean(0) < photo.size)).all())


def _write(files: dict[str, VideoWriter], seconds: Fraction, frame: Frame, one: Job, inversion: str) -> None:
    """One frame of every edit."""
    for label, file in files.items():
        result = frame
        if one.crops:
            marks, shown = one.marks, one.pictures
            faces = [
                EditedFace(shown[label + mark], crop, shown[inversion + mark])
                for crop, mark in zip(one.crops, marks, strict=True)
            ]
            result = np.asarray(paste(Image.fromarray(frame), faces))
        elif one.start is not None:
            result = np.asarray(one.pictures[label])
        file.write(result, seconds)
