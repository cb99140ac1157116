"""The words of `--edit`: "age=3", "smile=-2:2:5" (start:stop:count), "age=3,smile=1" (together), "file.npz#2=3"."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sdic.editing.directions import Located, is_direction_file, locate
from sdic.editing.masks import Region
from sdic.errors import ConfigError, UnknownNameError

SYNTAX = "write name=strength (age=3), name=start:stop:count (smile=-2:2:5), or several joined by commas"
MAX_SWEEP = 1000
NUMBER = re.compile(r"[-+.:\d]+(e[-+]?\d+)?")


@dataclass(frozen=True)
class Edit:
    """One picture per photo: directions that act together, each with its strength. label: the folder's name.

    name: instead of its words, for the label. region: where it acts, None for everywhere. sweep: what it is one step
    of, the word or the name that asked for it.
    """

    directions: tuple[Located, ...]
    strengths: tuple[float, ...]
    name: str = ""
    region: Region | None = None
    sweep: str = field(default="", compare=False)

    @property
    def pairs(self) -> list[tuple[Located, float]]:
        """(direction, strength), in order."""
        return list(zip(self.directions, self.strengths, strict=True))

    @property
    def label(self) -> str:
        """Such as "age=3,smile=-1", or its name."""
        return self.name or ",".join(f"{direction.name}={strength:g}" for direction, strength in self.pairs)

    def identity(self) -> list[Any]:
        """What its pictures depend on besides the inversion, for a record's key."""
        return [(direction.identity(), strength) for direction, strength in self.pairs]


def parse_edits(words: Sequence[str], domain: str) -> list[Edit]:
    """Every edit that the words ask for, sweeps spelled out, each once, in order.

    Directions are looked up (and their files must be here), but nothing is loaded. ConfigError quotes a word that
    cannot be read; UnknownNameError lists the directions of the domain.
    """
    edits: dict[str, Edit] = {}
    for word in words:
        terms = [_term(term, word, domain) for term in _split(word)]
        names = [located.name for located, _ in terms]
        if len(set(names)) < len(names):
            raise ConfigError(f"--edit {word!r} names a direction twice")
        for strengths in itertools.product(*(amounts for _, amounts in terms)):
            edit = Edit(tuple(located for located, _ in terms), strengths, sweep=word)
            if edits.setdefault(edit.label, edit).directions != edit.directions:
                raise ConfigError(f"two different edits would both be called {edit.label!r}; rename one direction file")
    return list(edits.values())


def warn_of_limits(edits: Sequence[Edit]) -> list[str]:
    """A line for every direction that is asked for beyond its useful range."""
    lines = []
    for direction, strength in (pair for edit in edits for pair in edit.pairs):
        least, most = direction.limits or (strength, strength)
        if not least <= strength <= most:
            lines.append(f"{direction.name}={strength:g} is outside its useful range {least:g} to {most:g}")
    return list(dict.fromkeys(lines))


def _split(word: str) -> list[str]:
    """The terms between the commas; an existing file with commas in its path is one term."""
    parts, terms = word.split(","), []
    while parts:
        lengths = range(len(parts), 1, -1)
        length = next((n for n in lengths if is_direction_file(_name(",".join(parts[:n])))), 1)
        terms.append(",".join(parts[:length]))
        parts = parts[length:]
    return terms


def _name(term: str) -> str:
    """The name or path of a term, without its strength; an existing file may have = in its path."""
    return term.rpartition("=")[0] if "=" in term and not is_direction_file(term) else term


def _term(term: str, word: str, domain: str) -> tuple[Located, list[float]]:
    path = _name(term)
    name, equals, amount = path.strip(), term[len(path) : len(path) + 1], term[len(path) + 1 :]
    if not name or (equals and not amount.strip()):
        raise ConfigError(f"--edit {word!r}: {SYNTAX}")
    amounts = _amounts(amount, word) if equals else []
    try:
        located = locate(name, domain)
    except UnknownNameError as error:
        if term == word or not NUMBER.fullmatch(name):
            raise
        reason = f"{name!r} is a number, not a direction; decimals are written with a point (age=1.5), commas join"
        raise ConfigError(f"--edit {word!r}: {reason}") from error
    return located, amounts or [located.default]


def _amounts(text: str, word: str) -> list[float]:
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts[:2]]
        count = int(parts[2]) if len(parts) == 3 else 1
    except ValueError:
        numbers, count = [], 1
    if not numbers or len(parts) not in (1, 3) or not all(math.isfinite(number) for number in numbers):
        raise ConfigError(f"--edit {word!r}: {text!r} is not a strength; {SYNTAX}")
    if len(parts) == 1:
        return [numbers[0] + 0.0]  # + 0.0 turns -0 into 0
    if not 2 <= count <= MAX_SWEEP:
        raise ConfigError(f"--edit {word!r}: a sweep has 2 to {MAX_SWEEP} strengths, not {count}")
    start, stop = numbers
    if start == stop:
        raise ConfigError(f"--edit {word!r}: the range from {start:g} to {stop:g} is empty; write NAME={start:g}")
    values = [start + (stop - start) * step / (count - 1) for step in range(count)]
    return [float(f"{value:.6g}") + 0.0 for value in values]  # as the label says it
