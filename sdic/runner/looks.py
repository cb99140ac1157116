"""What a run makes of its pictures on request (`--look`): strips, grids, animations, one page. Below OUT/look, and
OUT/page.html."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from sdic.editing.words import Edit
from sdic.errors import ConfigError, SdicError
from sdic.look import looks_of
from sdic.look.animation import write_animation
from sdic.look.grid import GAP, HIGHEST, UNREADABLE, cell_size, draw
from sdic.look.page import Entry, Series, Step, write_page
from sdic.runner.records import Outcome, writing
from sdic.runner.sheet import MAX_WIDTH, note, time_of, unchanged
from sdic.utils.files import within_limits
from sdic.utils.images import write_png

MOVING = ("webp", "gif", "mp4")
PHOTO = "photo"
MOST = 60
"""Photos on a page."""


@dataclass(frozen=True)
class Shown:
    """A photo that is done. pictures: label -> file, "photo" and "inversion" first. stem: of its files' names."""

    outcome: Outcome
    stem: str
    pictures: Mapping[str, Path]


def check_looks(look: str, edits: Sequence[Edit]) -> None:
    """ConfigError for what these edits cannot be looked at as; SdicError where mp4 is asked for without PyAV."""
    looks = looks_of(look)
    if not edits and (wrong := [word for word in looks if word not in ("strip", "page")]):
        raise ConfigError(f"--look {wrong[0]} shows edits, and none is made; an inversion has strip and page")
    if "grid" in looks and not any(axes(group) for group in sweeps(edits).values()):
        raise ConfigError("--look grid needs two sweeps in one word, such as --edit age=-2:2:5,smile=-2:2:5")
    check_video(look)


def check_video(look: str) -> None:
    """SdicError where mp4 is asked for without PyAV."""
    from sdic.utils.video import has_video

    if "mp4" in looks_of(look) and not has_video():
        raise SdicError("--look mp4 needs PyAV: pip install av, or pip install .[video] in the clone")


def sweeps(edits: Sequence[Edit]) -> dict[str, list[Edit]]:
    """Edits by the word or the name that asked for them, which is shortened to one that a folder can have."""
    groups: dict[str, list[Edit]] = {}
    for edit in edits:
        groups.setdefault(edit.sweep or edit.label, []).append(edit)
    return {_title(group): group for group in groups.values()}


def _title(group: Sequence[Edit]) -> str:
    """ "older" of a list; "age=3", and "smile=-2..2" for a sweep."""
    if group[0].name or len(group) == 1:
        return group[0].sweep if group[0].name and len(group) > 1 else group[0].label
    ends = zip(group[0].directions, group[0].strengths, group[-1].strengths, strict=True)
    return ",".join(f"{d.name}={a:g}" if a == b else f"{d.name}={a:g}..{b:g}" for d, a, b in ends)


def axes(group: Sequence[Edit]) -> list[list[str]] | None:
    """[names of rows, names of columns] of two directions swept against each other, in the order of their edits."""
    columns = list(zip(*(edit.strengths for edit in group), strict=True))
    moving = [index for index, values in enumerate(columns) if len(set(values)) > 1]
    if len(moving) != 2:
        return None
    names = [list(dict.fromkeys(f"{group[0].directions[i].name}={value:g}" for value in columns[i])) for i in moving]
    return names if len(names[0]) * len(names[1]) == len(group) else None


class Looks:
    """Makes what is asked for, and leaves alone what is up to date. made: the files' names, relative to OUT."""

    def __init__(self, out: Path, look: str, fps: float, edits: Sequence[Edit]):
        self.out, self.looks, self.fps, self.groups = out, looks_of(look), fps, sweeps(edits)
        self.made: list[str] = []

    def make(self, shown: Sequence[Shown], title: str, about: Mapping[str, object], page: str) -> None:
        """Everything for all photos. about: the table of the page. page: its name without ending."""
        for one in shown:
            if "strip" in self.looks:
                self._make(f"look/strip/{one.stem}", ".png", list(one.pictures.items()), _write_strip)
            for name, group in self.groups.items():
                frames = [(edit.label, one.pictures[edit.label]) for edit in group]
                if "grid" in self.looks and (names := axes(group)) is not None:
                    self._make(f"look/{name}/{one.stem}", ".png", frames, partial(_write_grid, names[0], names[1]))
                if len(frames) == 1:
                    frames = [("inversion", one.pictures["inversion"]), *frames]
                for look in MOVING:
                    if look in self.looks:
                        self._make(f"look/{name}/{one.stem}", f".{look}", frames, self._write_moving)
        if "page" in self.looks and shown:
            files = [pair for one in shown for pair in one.pictures.items()]
            left = f"The first {MOST} of {len(shown)} photos." if len(shown) > MOST else ""
            self._make(page, ".html", files, lambda p, _: write_page(p, title, self._entries(shown), about, left))

    def _make(
        self,
        name: str,
        ending: str,
        frames: list[tuple[str, Path]],
        write: Callable[[Path, list[tuple[str, Path]]], None],
    ) -> None:
        name = within_limits(name, ending)
        self.made.append(name)
        content = [self.fps, [(label, str(file), time_of(file)) for label, file in frames]]
        same, state = unchanged(self.out, name, content)
        if not same:
            with writing(self.out / name):
                write(self.out / name, frames)
                note(self.out, name, state)

    def _write_moving(self, path: Path, frames: list[tuple[str, Path]]) -> None:
        write_animation(path, [file for _, file in frames], self.fps, back=path.suffix != ".mp4")

    def _entries(self, shown: Sequence[Shown]) -> Iterator[Entry]:
        for one in shown[:MOST]:
            before = tuple(Step(label, one.pictures[label]) for label in (PHOTO, "inversion") if label in one.pictures)
            series = (
                Series(name, tuple(Step(edit.label, one.pictures[edit.label]) for edit in group))
                for name, group in self.groups.items()
            )
            yield Entry(one.outcome.name, before, tuple(series), facts(one))


def facts(one: Shown) -> dict[str, str]:
    """What is known of a photo: how close its inversion is, how long it took, what its owner should know."""
    found = {}
    if PHOTO in one.pictures:
        try:
            with Image.open(one.pictures[PHOTO]) as photo, Image.open(one.pictures["inversion"]) as inversion:
                same = inversion.convert("RGB").resize(photo.size, Image.Resampling.BOX)
                difference = np.asarray(photo.convert("RGB"), np.float64) - np.asarray(same, np.float64)
            error = float(np.square(difference).mean())
            value = f"{10 * np.log10(255**2 / error):.2f} dB" if error else "equal"
            found[f"inversion, PSNR at {photo.width}x{photo.height}"] = value
        except UNREADABLE:
            pass
    if one.outcome.seconds:
        found["seconds"] = f"{one.outcome.seconds:.2f}"
    return found | {"note": "; ".join(one.outcome.warnings)} if one.outcome.warnings else found


def _write_strip(path: Path, frames: list[tuple[str, Path]]) -> None:
    """In one row; with many pictures, each is smaller."""
    files = [file for _, file in frames]
    height, width = cell_size(files, HIGHEST)
    share = min(1.0, (MAX_WIDTH / len(files) - GAP) / width)
    write_png(path, draw([files], [label for label, _ in frames], [""], (int(height * share), int(width * share))))


def _write_grid(rows: list[str], columns: list[str], path: Path, frames: list[tuple[str, Path]]) -> None:
    files = [file for _, file in frames]
    height, width = cell_size(files, HIGHEST)
    share = min(1.0, (MAX_WIDTH / len(columns) - GAP) / width)
    lines = [files[first : first + len(columns)] for first in range(0, len(files), len(columns))]
    write_png(path, draw(lines, columns, rows, (int(height * share), int(width * share))))
