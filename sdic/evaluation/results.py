"""What has been measured: a line a picture, written as soon as it is known, in a file bound to its settings.

A run that was killed goes on behind the last whole line. Other settings have another file, so that numbers of different
weights, networks or pictures never meet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sdic import __version__
from sdic.errors import SdicError

VERSION = 2  # part of every key: raise it when the same settings give other numbers


class ResultsFile:
    """FOLDER/NAME-KEY.jsonl: the settings in the first line, then {"picture": key, ...}."""

    def __init__(self, folder: Path, name: str, settings: dict[str, Any]):
        self.settings = {"version": VERSION, "sdic": __version__, **settings}
        text = json.dumps(self.settings, sort_keys=True)
        self.name = f"{re.sub(r'[^A-Za-z0-9.+_-]+', '-', name)}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.path = folder / f"{self.name}.jsonl"
        self._lines = self._read()

    def __contains__(self, picture: str) -> bool:
        return picture in self._lines

    def __getitem__(self, picture: str) -> dict[str, Any]:
        return self._lines[picture]

    def add(self, picture: str, numbers: dict[str, Any]) -> None:
        """Note a picture's numbers; they are on the disk when this returns. SdicError where that cannot be."""
        line = json.dumps({"picture": picture, **numbers})
        try:
            new = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "ab+") as handle:
                if new:
                    line = json.dumps({"settings": self.settings}) + "\n" + line
                elif _torn(handle):
                    line = "\n" + line  # what a kill left of the line before stays unreadable, and alone
                handle.write((line + "\n").encode())
        except OSError as error:
            raise SdicError(
                f"cannot write {self.path}: {error.strerror}. What was measured is kept; the same command "
                "goes on from there"
            ) from error
        self._lines[picture] = json.loads(json.dumps(numbers))

    def select(self, pictures: Iterable[str]) -> list[dict[str, Any]]:
        """The numbers of those pictures that have been measured, in the order given."""
        return [self._lines[picture] for picture in pictures if picture in self._lines]

    def _read(self) -> dict[str, dict[str, Any]]:
        lines: dict[str, dict[str, Any]] = {}
        text = self.path.read_text(encoding="utf-8", errors="replace") if self.path.is_file() else ""
        for line in text.splitlines():
            with contextlib.suppress(ValueError, TypeError):  # an unfinished line
                content = json.loads(line)
                if "picture" in content:
                    lines[content.pop("picture")] = content
        return lines


def _torn(handle: Any) -> bool:
    """Whether a file opened for appending ends within a line."""
    handle.seek(max(0, handle.seek(0, 2) - 1))
    return handle.read(1) not in (b"", b"\n")
