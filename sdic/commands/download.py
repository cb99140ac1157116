"""`sdic download NAME ...`: fetch the files of a model that have an open source."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic download`."""
    parser.add_argument("names", nargs="+", metavar="NAME", help="models, as `sdic models` lists them")
    parser.add_argument(
        "--from",
        dest="given",
        metavar="FILE",
        help="do not fetch: check this file, fetched by hand, and put it where it belongs",
    )
    parser.add_argument("--force", action="store_true", help="fetch again what is here")


def run(args: argparse.Namespace) -> int:
    """Fetch one model after the other; 0, or 1 where a file could not be had."""
    from sdic import zoo
    from sdic.download import fetch
    from sdic.errors import ConfigError, SdicError
    from sdic.utils.text import printable

    cards = [zoo.card(name) for name in args.names]
    if args.given is not None and (len(cards) != 1 or len(cards[0].files) != 1):
        raise ConfigError("--from FILE goes with one model of one file")
    failed = 0
    for card in cards:
        if not card.files:
            print(f"{card.name}: needs no file")
        for wanted in card.files:
            found = zoo.find_file(wanted)
            if found is not None and not args.force and args.given is None:
                print(f"{card.name}: {wanted.name} is here already: {found}")
                continue
            try:
                if wanted.made_by and args.given is None:
                    raise SdicError(f"{wanted.name} comes with this repository; make it: {wanted.made_by}")
                given = None if args.given is None else Path(args.given)
                path = fetch(wanted, given, _Meter(wanted.name) if sys.stderr.isatty() else None)
            except SdicError as error:
                failed += 1
                print(f"error: {card.name}: {printable(str(error))}", file=sys.stderr)
            else:
                print(f"{card.name}: {path} ({path.stat().st_size / 1e6:.1f} MB, licence: {wanted.licence})")
    return 1 if failed else 0


class _Meter:
    """Says on one line how far a transfer is, a few times a second."""

    def __init__(self, name: str):
        self.name, self.last = name, 0.0

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self.last > 0.3 or done == total:
            self.last = time.monotonic()
            of, end = f" of {total / 1e6:.0f}" if total else "", "\n" if done == total else ""
            print(f"\r{self.name}: {done / 1e6:.0f}{of} MB", end=end, file=sys.stderr, flush=True)
