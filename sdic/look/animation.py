"""Pictures that move: animated WebP and GIF, and MP4."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from sdic.errors import ConfigError
from sdic.look.grid import HIGHEST, Cell, cell_size, shown
from sdic.utils.files import write_atomic

KINDS = (".webp", ".gif", ".mp4")
MOST = 600
"""Frames of a WebP or GIF, which are all in memory at once, at most 512 px high."""
WEBP = {"quality": 90, "method": 3}


def write_animation(path: Path, frames: Iterable[Cell], fps: float, back: bool = False) -> None:
    """Frames of one size -> an endless WebP or GIF, or an MP4 (needs PyAV), by the file's ending; whole or not there.

    back: there and back again. An MP4 has the frames' own size, and one at a time is in memory; with `back` the frames
    must be a list. WebP and GIF are at most 512 px high, of at most 600 frames. ConfigError for no frames, more than
    that, and another ending.
    """
    path, iterator = Path(path), iter(frames)
    if path.suffix.lower() not in KINDS:
        raise ConfigError(f"{path}: an animation is one of {', '.join(KINDS)}")
    first = next(iterator, None)
    if first is None:
        raise ConfigError(f"{path}: no frames")
    if path.suffix.lower() == ".mp4":
        from sdic.utils.video import write_video

        again = reversed(list(frames)[1:-1]) if back else iter(())
        write_video(path, (np.asarray(_opened(frame)) for frame in chain([first], iterator, again)), fps)
        return
    height, width = cell_size([first], HIGHEST)
    pictures = [shown(frame, (width, height)) for frame in _limited(chain([first], iterator), path)]
    pictures += pictures[-2:0:-1] if back else []
    blob = io.BytesIO()
    options = WEBP if path.suffix.lower() == ".webp" else {"optimize": False}
    pictures[0].save(
        blob, path.suffix[1:], save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0, **options
    )
    write_atomic(path, blob.getvalue())


def _limited(frames: Iterable[Cell], path: Path) -> Iterator[Cell]:
    for number, frame in enumerate(frames, 1):
        if number > MOST:
            raise ConfigError(f"{path}: more than {MOST} frames; write an .mp4")
        yield frame


def _opened(frame: Cell) -> Image.Image:
    if isinstance(frame, Image.Image):
        return frame.convert("RGB")
    with Image.open(frame) as picture:
        return picture.convert("RGB")
