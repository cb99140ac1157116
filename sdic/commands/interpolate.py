"""`sdic interpolate A B --out DIR --model NAME --steps 9`."""

from __future__ import annotations

import argparse

from sdic.commands import between


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic interpolate`."""
    between.add_arguments(parser)
    parser.add_argument("--steps", type=int, metavar="N", help="pictures, both ends included (9); 100 for a video")
    parser.add_argument(
        "--t",
        type=float,
        action="append",
        metavar="T",
        help="this place alone, from 0 (A) to 1 (B), instead of steps; may be repeated",
    )


def run(args: argparse.Namespace) -> int:
    """Interpolate; 0."""
    return between.run(args, "interpolate")
