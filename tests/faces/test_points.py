"""Landmarks from files: every form that people bring, and what is wrong with the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sdic.errors import ImageError
from sdic.faces.points import Face, face_of_landmarks, faces_for, read_landmarks

FIVE = [[30.0, 40.0], [70.0, 42.0], [50.0, 60.0], [35.0, 80.0], [66.0, 81.0]]


def dlib68() -> np.ndarray:
    """68 points whose eyes and mouth are those of FIVE."""
    points = np.zeros((68, 2))
    ring = np.array([[-6, 0], [-2, -3], [2, -3], [6, 0], [2, 3], [-2, 3]])
    points[36:42], points[42:48] = np.array(FIVE[0]) + ring, np.array(FIVE[1]) + ring
    points[48], points[54] = FIVE[3], FIVE[4]
    return points


def test_five_and_sixty_eight_points_are_one_face() -> None:
    few, many = face_of_landmarks(FIVE), face_of_landmarks(dlib68())
    np.testing.assert_allclose(few.points, [FIVE[0], FIVE[1], FIVE[3], FIVE[4]])
    np.testing.assert_allclose(few.points, many.points)
    assert few.roll == pytest.approx(2.862, abs=1e-3)


def test_json_and_csv(tmp_path: Path) -> None:
    table, text = tmp_path / "points.json", tmp_path / "points.csv"
    table.write_text(json.dumps({"a/one.jpg": FIVE, "two": [FIVE, dlib68().tolist()]}))
    numbers = ",".join(str(value) for point in FIVE for value in point)
    text.write_text(
        f"# by hand\nname,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\na/one.jpg,{numbers}\ntwo,{numbers}\ntwo,{numbers},,\n"
    )
    for found in (read_landmarks(table), read_landmarks(text)):
        assert [len(faces_for(found, name)) for name in ("a/one.jpg", "b/two.png", "three.jpg")] == [1, 2, 0]
        np.testing.assert_allclose(faces_for(found, "a/one.jpg")[0].points, few_points())
    assert faces_for(read_landmarks(table), "two")[0].source == "points.json"


def few_points() -> np.ndarray:
    return face_of_landmarks(FIVE).points


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[1, 2]", "name of the photo"),
        ("a.json", "{", "no JSON"),
        ("a.json", "[" * 100_000, "no JSON"),
        ("a.json", '{"x": [[1, 2], [3, 4]]}', r"'x': landmarks are 5 points.*got \[2, 2\]"),
        ("a.json", '{"x": [["a", "b"], [1, 2], [1, 2], [3, 4], [5, 6]]}', "pairs of numbers"),
        ("a.json", '{"x": [[NaN, 2], [1, 2], [1, 2], [3, 4], [5, 6]]}', "four points"),
        ("a.json", '{"x": [[1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]}', "one point"),
        ("a.json", '{"x": {"a": 1}}', "landmarks are"),
        ("a.json", "{}", "no landmarks in it"),
        ("a.csv", "x,1,2,3,4,5,6,7,8,9\n", r"line 1: landmarks are .*got \[9\]"),
        ("a.csv", "x,1,2,3,4,5,6,7,8,9,10\ny,a,2,3,4,5,6,7,8,9,10\n", "line 2: a name and numbers"),
        ("a.csv", "x,1e300,2,3,4,5,6,7,8,9,10\n", "further away"),
        ("a.txt", "x", ".json or a .csv"),
    ],
)
def test_other_files_are_refused_with_the_place(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ImageError, match=message):
        read_landmarks(tmp_path / name)
    with pytest.raises(ImageError, match="no such file"):
        read_landmarks(tmp_path / "none.json")


def test_a_face_is_four_finite_points() -> None:
    with pytest.raises(ImageError):
        Face(np.zeros((3, 2)))
    with pytest.raises(ImageError):
        Face(np.full((4, 2), np.inf))
