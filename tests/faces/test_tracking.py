"""Faces of a video: followed from frame to frame, chosen, smoothed."""

from __future__ import annotations

import numpy as np
import pytest

from sdic.faces.points import Face
from sdic.faces.tracking import chosen, follow, smoothed
from tests.faces.test_alignment import face_at

FPS = 25.0


def walk(count: int, x: float, y: float = 100, side: float = 100, step: float = 2.0) -> list[Face]:
    return [face_at(x + step * k, y, side) for k in range(count)]


def test_faces_are_followed_by_place_not_by_order() -> None:
    left, right = walk(20, 80), walk(20, 400, side=120, step=-2)
    tracks = follow(([a, b] if k % 2 else [b, a] for k, (a, b) in enumerate(zip(left, right, strict=True))), FPS)
    assert [len(track) for track in tracks] == [20, 20]
    for track, faces in zip(tracks, (right, left), strict=True):
        assert all(np.array_equal(track[k], faces[k].points) for k in range(20))


def test_a_cut_begins_a_new_face_and_a_short_gap_does_not() -> None:
    one = walk(40, 80)
    frames = [[face] if not 10 <= k < 15 else [] for k, face in enumerate(one)]
    [track] = follow(frames, FPS)
    assert sorted(track) == [*range(10), *range(15, 40)]
    whole = smoothed(track, FPS)
    assert sorted(whole) == list(range(40))
    assert np.abs(whole[12] - one[12].points).max() < 0.5  # steady motion: as if it had been there
    tracks = follow([[face] if k < 10 else [face_at(300 + k, 100, 100)] for k, face in enumerate(one)], FPS)
    assert [len(track) for track in tracks] == [10, 30]
    long = follow([[face] if not 5 <= k < 30 else [] for k, face in enumerate(walk(40, 80, step=0))], FPS)
    assert [sorted(track) for track in long] == [list(range(5)), list(range(30, 40))]  # a second away


def test_which_are_meant() -> None:
    small, large = walk(40, 80, side=80), walk(40, 300, side=140, step=0)
    frames = [[a, b] if k < 20 else [a] for k, (a, b) in enumerate(zip(small, large, strict=True))]
    tracks = follow(frames, FPS)
    assert len(chosen(tracks, "all")) == 2
    [kept] = chosen(tracks, "largest")  # larger over the whole video: there all the time
    assert len(kept) == 40
    [first], [second] = chosen(tracks, "1"), chosen(tracks, "2")
    assert first[0][0, 0] < second[0][0, 0]
    assert chosen(tracks, "3") == []
    after_a_cut = [[walk(1, 80)[0]] if k < 10 else [face_at(500, 200, 150)] for k in range(20)]
    assert [len(track) for track in chosen(follow(after_a_cut, FPS), "largest")] == [10, 10]


def test_smoothing_takes_trembling_and_leaves_motion() -> None:
    random = np.random.default_rng(0)
    steady = walk(60, 100, step=3)
    trembling = [Face(face.points + random.normal(0, 2, (4, 2))) for face in steady]
    [track] = follow([[face] for face in trembling], FPS)
    after = smoothed(track, FPS)
    before = np.std([track[k] - steady[k].points for k in range(60)])
    assert np.std([after[k] - steady[k].points for k in range(5, 55)]) < 0.45 * before
    [exact] = follow([[face] for face in steady], FPS)
    assert np.abs([smoothed(exact, FPS)[k] - steady[k].points for k in range(60)]).max() < 1e-6
    assert all(
        np.array_equal(a, b)
        for a, b in zip(smoothed({0: steady[0].points}, FPS).values(), [steady[0].points], strict=True)
    )


@pytest.mark.parametrize("fps", [1.0, 240.0])
def test_any_rate(fps: float) -> None:
    [track] = follow([[face] for face in walk(30, 100)], fps)
    assert len(smoothed(track, fps)) == 30
    assert follow([], fps) == []
