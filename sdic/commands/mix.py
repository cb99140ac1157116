"""`sdic mix A B --rows 8-17 --out DIR --model NAME`."""

from __future__ import annotations

import argparse

from sdic.commands import between


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic mix`."""
    between.add_arguments(parser)
    parser.add_argument(
        "--rows",
        action="append",
        metavar="ROWS",
        help="which latent rows of A become those of B: 8-17 (both ends included), 4,8-11, coarse (0-3),\n"
        "middle (4-7), fine (8 and above); may be repeated",
    )
    parser.add_argument("--strength", type=float, metavar="S", help="how far, from 0 (A as it is) to 1 (the default)")


def run(args: argparse.Namespace) -> int:
    """Mix; 0."""
    return between.run(args, "mix")
