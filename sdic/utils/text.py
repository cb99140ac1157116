"""Words for people: names of files may hold anything, a line of a report may not."""

from __future__ import annotations

import unicodedata

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
