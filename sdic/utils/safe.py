"""Small files and messages of untrusted origin: bounded, and on one line."""

from __future__ import annotations

import os
from pathlib import Path

from sdic.errors import SdicError


def one_line(message: object, limit: int = 300) -> str:
    """A message that fits into a line: control characters and line breaks are spaces, the end is cut off."""
    text = " ".join("".join(c if c.isprintable() else " " for c in str(message)[: 4 * limit]).split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def read_small_text(path: str | os.PathLike[str], limit: int, error: type[SdicError]) -> str:
    """The UTF-8 text of a regular file of at most `limit` bytes; `error` says what is wrong with any other."""
    path = Path(path)
    try:
        if not path.is_file():
            raise error(f"{path.absolute()}: no such file")
        if path.stat().st_size > limit:
            raise error(f"{path}: {path.stat().st_size:,} bytes, where at most {limit:,} are read")
        return path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror or one_line(problem)})") from problem
    except ValueError as problem:
        raise error(f"{path}: not a text in UTF-8 ({one_line(problem)})") from problem
