"""`sdic invert PHOTOS --out DIR --model NAME`."""

from __future__ import annotations

import argparse

from sdic.commands import folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic invert`."""
    folder.add_arguments(parser, "photos (raw ones of faces are aligned as in FFHQ, others as the model's domain is)")


def run(args: argparse.Namespace) -> int:
    """Invert; 0, or 1 when some photos failed."""
    return folder.run(args, "invert")
