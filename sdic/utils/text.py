"""Words for people: names of files, messages and small texts of strangers may hold anything, a line of ours may not."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

from sdic.errors import SdicError

_ESCAPED = ("Cc", "Cf", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # scripts and emoji need them


def printable(text: str) -> str:
    r"""The text in one line: control characters, line breaks and marks that turn the direction of writing are escaped
    as in Python ("two\nlines"); everything else stays, so that escaping twice changes nothing."""
    return "".join(
        mark.encode("unicode_escape").decode()
        if unicodedata.category(mark) in _ESCAPED and mark not in _JOINERS
        else mark
        for mark in text
    )


def one_line(message: object, limit: int = 300) -> str:
    """`printable`, with line breaks and runs of spaces as one space, and what is longer than `limit` cut off."""
    text = printable(" ".join(str(message)[: 4 * limit].split()))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def reason(error: BaseException) -> str:
    """What an error says, in one line: the system's own words where they are, its name where it says nothing."""
    return one_line(getattr(error, "strerror", None) or error) or type(error).__name__


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
        raise error(f"{path}: cannot be read ({reason(problem)})") from problem
    except ValueError as problem:
        raise error(f"{path}: not a text in UTF-8 ({reason(problem)})") from problem
