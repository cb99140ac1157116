"""How a run's jobs flow: some are prepared ahead of the model, and photos go through it in groups."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sdic.runner.inputs import Item
from sdic.runner.jobs import Job


def ahead(pool: ThreadPoolExecutor, step: Callable[[Item], Job], items: Sequence[Item], count: int) -> Iterator[Job]:
    """step(item) for every item in order, with up to `count` of them done ahead."""
    jobs: deque[Future[Job]] = deque()
    for item in items:
        jobs.append(pool.submit(step, item))
        if len(jobs) > count:
            yield jobs.popleft().result()
    while jobs:
        yield jobs.popleft().result()


def groups(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
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
