"""The words of `--edit`: "age=3", "smile=-2:2:5" (start:stop:count), "age=3,smile=1" (together)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdic.editing.directions import SUFFIXES, Located, locate
from sdic.errors import ConfigError

SYNTAX = "write name=strength (age=3), name=start:stop:count (smile=-2:2:5), or several joined by commas"
MAX_SWEEP = 1000


@dataclass(frozen=True)
class Edit:
    """One picture per photo: directions that act together, each with its strength. label: the folder's name."""

    directions: tuple[Located, ...]
    strengths: tuple[float, ...]

    @property
    def label(self) -> str:
        """Such as "age=3,smile=-1"."""
        pairs = zip(self.directions, self.strengths, strict=True)
        return ",".join(f"{direction.name}={strength:g}" for direction, strength in pairs)


def parse_edits(words: Sequence[str], domain: str) -> list[Edit]:
    """Every edit that the words ask for, sweeps spelled out, each once, in order.

    Directions are looked up (and their files must be here), but nothing is loaded. ConfigError quotes a word that
    cannot be read; UnknownNameError lists the directions of the domain.
    """
    edits: dict[str, Edit] = {}
    for word in words:
        terms = [_term(term, word, domain) for term in word.split(",")]
        names = [located.name for located, _ in terms]
        if len(set(names)) < len(names):
            raise ConfigError(f"--edit {word!r} names a direction twice")
        for strengths in itertools.product(*(amounts for _, amounts in terms)):
            edit = Edit(tuple(located for located, _ in terms), strengths)
            if edits.setdefault(edit.label, edit).directions != edit.directions:
                raise ConfigError(f"two different edits would both be called {edit.label!r}; rename one direction file")
    return list(edits.values())


def _term(term: str, word: str, domain: str) -> tuple[Located, list[float]]:
    name, equals, amount = term.rpartition("=")
    if not equals:
        name, amount = term, ""
    name = name.strip()
    if not name or (equals and not amount.strip()):
        raise ConfigError(f"--edit {word!r}: {SYNTAX}")
    amounts = _amounts(amount, word) if equals else None
    located = locate(name, domain)
    if Path(name).suffix in SUFFIXES and any(mark in located.name for mark in ",="):
        raise ConfigError(f"--edit {word!r}: a direction file's name must not hold , or =")
    return located, [located.default] if amounts is None else amounts


def _amounts(text: str, word: str) -> list[float]:
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts[:2]]
        count = int(parts[2]) if len(parts) == 3 else 1
    except ValueError as error:
        raise ConfigError(f"--edit {word!r}: {text!r} is not a strength; {SYNTAX}") from error
    if len(parts) not in (1, 3) or not all(math.isfinite(number) for number in numbers):
        raise ConfigError(f"--edit {word!r}: {text!r} is not a strength; {SYNTAX}")
    if len(parts) == 1:
        return [numbers[0] + 0.0]
    if not 2 <= count <= MAX_SWEEP:
        raise ConfigError(f"--edit {word!r}: a sweep has 2 to {MAX_SWEEP} strengths, not {count}")
    start, stop = numbers
    values = [start + (stop - start) * step / (count - 1) for step in range(count)]
    return [float(f"{value:.6g}") + 0.0 for value in values]  # as the label says it; + 0.0 turns -0 into 0
