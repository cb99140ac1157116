"""Reads many damaged files with one parser, and says what came of it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.parsers import PARSERS, Parser


class TooSlow(BaseException):
    """A file took longer to read than it may; no parser catches it."""


@dataclass
class Outcome:
    """inputs, accepted: counts. refused: exception's class -> count. slowest: seconds. wrong: what left the closed
    list, with the words that make it again."""

    inputs: int = 0
    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    wrong: list[str] = field(default_factory=list)


def sweep(
    name: str,
    count: int,
    folder: Path,
    seed: int = 0,
    limit: float = 20.0,
    only: tuple[int, int] | None = None,
    before: Callable[[int], object] = lambda number: None,
    keep: Path | None = None,
) -> Outcome:
    """`count` damaged files for the parser `name`, shared among its seed files; each may take `limit` seconds.

    folder: an empty one, to write into. only: (first, end) of the inputs to read; the others are skipped.
    before: called with the number of each input before it is read. keep: a folder for the files that were wrong.
    """
    parser, outcome = PARSERS[name], Outcome()
    (folder / "whole").mkdir(parents=True)
    whole = parser.seeds(folder / "whole")
    for path in whole:
        if path.name not in parser.beginnings:
            parser.parse(path)  # a seed file that is refused itself would show nothing
    (folder / "damaged").mkdir()
    for number, (path, blob) in enumerate(inputs(parser, whole, count, seed)):
        if only is not None and not only[0] <= number < only[1]:
            continue
        target = folder / "damaged" / path.name
        target.write_bytes(blob)
        before(number)
        started = time.perf_counter()
        outcome.inputs += 1
        before_it = len(outcome.wrong)
        try:
            with at_most(limit), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                parser.parse(target)
            outcome.accepted += 1
        except parser.allowed as error:
            outcome.refused[type(error).__name__] += 1
            if "\n" in str(error) or len(str(error)) > 4000:
                outcome.wrong.append(f"{name}, seed {seed}, input {number} of {count} ({path.name}): not one line")
        except (Exception, TooSlow) as error:  # whatever else a parser raises is what is looked for
            outcome.wrong.append(
                f"{name}, seed {seed}, input {number} of {count} ({path.name}): {type(error).__name__}: {error}"[:500]
            )
        if keep is not None and len(outcome.wrong) > before_it:
            shutil.copy(target, keep / f"{name.replace(' ', '-')}-{seed}-{number}-{path.name}")
        outcome.slowest = max(outcome.slowest, time.perf_counter() - started)
    return outcome


def inputs(parser: Parser, whole: list[Path], count: int, seed: int) -> Iterator[tuple[Path, bytes]]:
    """(the seed file, a damaged copy of it), `count` of them, the same ones for the same words."""
    for index, path in enumerate(whole):
        share = count // len(whole) + (index < count % len(whole))
        for blob in parser.damage(path.read_bytes(), share, seed * 1009 + index):
            yield path, blob


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """TooSlow inside the block after so many seconds."""

    def ring(*_: object) -> None:
        raise TooSlow(f"over {seconds:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
