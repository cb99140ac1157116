"""Strips, grids, animations and the page, from pictures in memory."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from sdic.errors import ConfigError
from sdic.look import looks_of
from sdic.look.animation import write_animation
from sdic.look.grid import GAP, TEXT, grid, strip
from sdic.look.page import Entry, Series, Step, write_page

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]
PICTURES = [Image.new("RGB", (128, 128), colour) for colour in COLOURS]
HOSTILE = "\"><script>alert(1)</script><img src=x onerror='alert(2)'> & {{x}} \u202e\n.png"


def test_a_strip_shows_every_picture_in_order():
    row = strip(PICTURES, ["a", "b", "c", "d"], "name")
    assert row.size == (GAP + 4 * (128 + GAP), TEXT + 128 + TEXT + 2 * GAP)
    for index, colour in enumerate(COLOURS):
        assert row.getpixel((GAP + index * (128 + GAP) + 64, TEXT + 64)) == colour
    assert np.asarray(row)[:TEXT].min() < 100  # labels
    assert strip([Image.new("RGB", (2048, 1024))]).size[0] == 2 * GAP + 1024


def test_a_grid_has_rows_and_columns(tmp_path):
    page = grid([PICTURES[:2], [PICTURES[2], tmp_path / "missing.png"]], ["x", "y"], ["1", "2"])
    low = TEXT + (128 + TEXT + GAP) + 64
    assert page.getpixel((GAP + 64, low)) == COLOURS[2]
    assert page.getpixel((GAP + 128 + GAP + 64, low)) == (232, 232, 232)
    for rows, labels in (([], []), ([[]], []), ([PICTURES, PICTURES[:2]], []), ([PICTURES], ["one"])):
        with pytest.raises(ConfigError, match="do not go with"):
            grid(rows, labels)


@pytest.mark.parametrize("ending", ["webp", "gif"])
def test_animations_go_there_and_back_for_ever(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    write_animation(path, PICTURES, 20, back=True)
    with Image.open(path) as animation:
        frames = [np.asarray(frame.convert("RGB"))[64, 64].astype(int) for frame in ImageSequence.Iterator(animation)]
        assert animation.info["loop"] == 0
        assert animation.info["duration"] == 50
    wanted = [COLOURS[index] for index in (0, 1, 2, 3, 2, 1)]
    assert np.abs(np.array(frames) - np.array(wanted)).max() < 12


def test_a_video_streams_its_frames(tmp_path):
    av = pytest.importorskip("av")
    alive, most = [], []

    def frames():
        for index in range(30):
            path = tmp_path / f"{index}.png"
            PICTURES[index % 4].save(path)
            alive.append(path)
            yield path
            most.append(len(alive) - index)

    write_animation(tmp_path / "a.mp4", frames(), 10)
    assert max(most) == 1  # a frame is written before the next one is asked for
    with av.open(str(tmp_path / "a.mp4")) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(pictures) == 30
    assert np.abs(pictures[1][64, 64].astype(int) - COLOURS[1]).max() < 30


def test_no_frames_too_many_and_other_endings_are_refused(tmp_path):
    for name, frames, words in (
        ("a.webp", [], "no frames"),
        ("a.avi", PICTURES, "one of .webp, .gif, .mp4"),
        ("a.gif", [Image.new("RGB", (8, 8))] * 601, "more than 600 frames; write an .mp4"),
    ):
        with pytest.raises(ConfigError, match=words):
            write_animation(tmp_path / name, frames, 10)
    assert not list(tmp_path.iterdir())


def test_words_and_rates():
    assert looks_of("strip, page,strip,") == ["strip", "page"]
    assert looks_of("") == []
    with pytest.raises(ConfigError, match=r"unknown look 'webm' .did you mean 'webp'.*known: strip, grid"):
        looks_of("webm")
    for fps in (0.0, -1.0, float("nan"), float("inf"), 500.0):
        with pytest.raises(ConfigError, match="fps must be above 0 and at most 120"):
            looks_of("gif", fps)


class Tags(HTMLParser):
    """Every tag with its attributes, and the texts."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture
def page(tmp_path: Path) -> str:
    entry = Entry(
        HOSTILE,
        (Step("photo", PICTURES[0]), Step(HOSTILE, PICTURES[1])),
        (Series(HOSTILE, (Step(HOSTILE, PICTURES[2]), Step("age=3", PICTURES[3]))),),
        {HOSTILE: HOSTILE},
    )
    write_page(tmp_path / "page.html", HOSTILE, [entry], {"out": HOSTILE, "fps": 10}, HOSTILE)
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_page_asks_for_nothing_from_anywhere(page):
    found = Tags(page)
    for tag, attributes in found.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "srcset", "action", "data"):
                assert value.startswith("data:image/webp;base64,")
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttp|localStorage", page)


def test_hostile_names_are_text(page):
    found = Tags(page)
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert [tag for tag, _ in found.tags].count("img") == 4
    assert any("<script>alert(1)</script>" in text and text.endswith("\\n.png") for text in found.texts)
    assert "\u202e" not in page


def test_its_policy_allows_its_own_script_and_style_alone(page):
    policy = next(a["content"] for tag, a in Tags(page).tags if tag == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'; img-src data:;")
    for tag in ("script", "style"):
        text = re.search(f"<{tag}>(.*?)</{tag}>", page, re.S)[1]
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert "unsafe" not in policy


def test_its_pictures_are_in_it(page, tmp_path):
    figures = re.findall(r'<figure (data-before|data-series="[^"]*")><img [^>]*base64,([^"]+)"', page)
    assert [side == "data-before" for side, _ in figures] == [True, True, False, False]
    for (_, code), colour in zip(figures, COLOURS, strict=True):
        (tmp_path / "one.webp").write_bytes(base64.b64decode(code))
        with Image.open(tmp_path / "one.webp") as picture:
            assert np.abs(np.asarray(picture.convert("RGB"))[64, 64].astype(int) - colour).max() < 12


def test_a_picture_that_is_gone_is_left_out(tmp_path):
    entry = Entry("a", (Step("photo", tmp_path / "gone.png"),), (Series("s", (Step("s", PICTURES[0]),)),))
    write_page(tmp_path / "page.html", "t", [entry], {})
    assert (tmp_path / "page.html").read_text().count("<figure") == 1
