"""The few errors a user can meet, each saying what was looked for, what was found and what to run next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SdicError(Exception):
    """Base of every error that sdic raises on purpose; the commands print it without a traceback."""


class ConfigError(SdicError):
    """A setting is unknown, of the wrong type, or contradicts another one."""


class CheckpointError(SdicError):
    """A weight file is missing, unsafe, incomplete, or of another layout than asked for."""


class ImageError(SdicError):
    """A picture cannot be read, or reading it would be unsafe."""


class UnknownNameError(SdicError):
    """A name is not in its registry; the message lists what is."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        known = sorted(known)
        super().__init__(f"unknown {kind} {name!r}{did_you_mean(name, known)}; known: {', '.join(known) or 'none'}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """' (did you mean ...?)' for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
