"""How the files of a photo are written, each whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sdic.runner.inputs import InversionItem
from sdic.runner.jobs import SMALL, Job, Output
from sdic.runner.records import writing
from sdic.utils.files import atomic_file, within_limits, write_atomic
from sdic.utils.images import write_png


def write_output(out: Path, job: Job, output: Output) -> None:
    """One file of a job, and its line in the record."""
    path = out / output.path
    with writing(path, only_fatal=True):
        if output.label:
            write_png(path, job.pictures[output.label])
        elif isinstance(job.item, InversionItem) and path.suffix != ".npy":
            write_atomic(path, job.item.path.read_bytes())
        else:
            assert job.inversion is not None
            if path.suffix == ".npy":
                with atomic_file(path) as handle:
                    np.save(handle, job.inversion.latent[output.face].float().numpy())
            else:
                name = job.item.name.encode("utf-8", "backslashreplace").decode()
                job.inversion[output.face].save(path, {"name": name, **job.facts})
        job.record.add(output.path, output.key, job.amounts.get(output.label))


def write_small(out: Path, job: Job) -> None:
    """The small pictures for the contact sheet."""
    for label, mark in ((label, mark) for label in SMALL for mark in job.marks if label + mark in job.pictures):
        path = out / within_limits(f"{SMALL[label]}/{job.item.stem}{mark}", ".png")
        with writing(path, only_fatal=True):
            write_png(path, job.pictures[label + mark])
