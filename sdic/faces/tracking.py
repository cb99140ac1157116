"""Faces of a video from frame to frame: followed, chosen, and smoothed, so that crops do not tremble.

Shapes: points [4, 2] as in `sdic.faces.points.Face`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from sdic.faces.points import Array, Face

NEAR = 0.5  # a face has moved by less than so many of its widths since it was last there
LIKE = 1.5  # and has not changed in size by more than this factor
GAP = 0.5  # seconds without it that are filled in
SMOOTH = 0.1  # seconds of standard deviation of the smoothing

Track = dict[int, Array]
"""One face: number of the frame -> points."""


def follow(frames: Iterable[Sequence[Face]], fps: float) -> list[Track]:
    """The faces of every frame -> one track for each face, as long as it is there. A cut begins new ones."""
    tracks: list[Track] = []
    active: list[Track] = []
    for number, faces in enumerate(frames):
        active = [track for track in active if number - _last(track) <= max(1.0, GAP * fps)]
        free = list(active)
        for face in sorted(faces, key=lambda one: -one.width):
            old = min(free, key=lambda track: _distance(track, face), default=None)
            if old is None or _distance(old, face) > NEAR:
                old = {}
                tracks.append(old)
                active.append(old)
            else:
                free = [track for track in free if track is not old]
            old[number] = face.points
    return tracks


def chosen(tracks: Sequence[Track], face: str) -> list[Track]:
    """Those that are meant. "largest": the one that is largest over the whole video, and where it is not there the next
    one; "all"; or the N-th from the left, counted from 1, of those that are there for at least half as long as the
    longest; none where there are not so many."""
    if face == "all":
        return list(tracks)
    if face == "largest":
        kept: list[Track] = []
        for track in sorted(tracks, key=lambda one: -sum(map(_width, one.values()))):
            if all(track.keys().isdisjoint(other) for other in kept):
                kept.append(track)
        return kept
    longest = max((len(track) for track in tracks), default=0)
    long = [track for track in tracks if 2 * len(track) >= longest]
    in_order = sorted(long, key=lambda one: float(np.mean([points[:, 0].mean() for points in one.values()])))
    return in_order[int(face) - 1 : int(face)]


def smoothed(track: Track, fps: float) -> Track:
    """A track without gaps of up to `GAP` seconds, each coordinate smoothed by a Gaussian over time. Steady motion
    stays what it is, at both ends too."""
    numbers = sorted(track)
    result: Track = {}
    run = numbers[:1]
    for number in [*numbers[1:], None]:
        if number is not None and number - run[-1] <= max(1.0, GAP * fps):
            run.append(number)
            continue
        every = np.arange(run[0], run[-1] + 1)
        known = np.stack([track[k].reshape(-1) for k in run])
        whole = np.stack([np.interp(every, run, column) for column in known.T], 1)
        result |= {int(k): row.reshape(4, 2) for k, row in zip(every, _smooth(whole, SMOOTH * fps), strict=True)}
        run = [] if number is None else [number]
    return result


def _smooth(values: Array, sigma: float) -> Array:
    """[N, 8] along the first axis; beyond the ends it goes on as a mirrored point."""
    radius = min(math.ceil(3 * sigma), len(values) - 1)
    if radius < 1:
        return values
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    wide = np.pad(values, ((radius, radius), (0, 0)), "reflect", reflect_type="odd")
    return np.asarray(sum(tap * wide[start : start + len(values)] for start, tap in enumerate(taps)))


def _last(track: Track) -> int:
    return next(reversed(track))


def _distance(track: Track, face: Face) -> float:
    """How far a face is from where a track was last, in its widths; infinite for a face of another size."""
    last = track[_last(track)]
    width = _width(last)
    ratio = face.width / width
    if not 1 / LIKE < ratio < LIKE:
        return math.inf
    return math.dist(face.points.mean(0), last.mean(0)) / width


def _width(points: Array) -> float:
    return Face(points).width
