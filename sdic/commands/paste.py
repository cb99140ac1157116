"""`sdic paste EDITED --crops DIR/crops.json --out DIR`: edited crops back into their photos."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic paste`."""
    parser.add_argument("edited", metavar="EDITED", help="the folder of edited crops, named as `sdic align` named them")
    parser.add_argument("--crops", required=True, metavar="FILE", help="the crops.json that `sdic align` wrote")
    parser.add_argument("--out", required=True, metavar="DIR", help="for the photos, each in its own size and format")


def run(args: argparse.Namespace) -> int:
    """Paste; 0, or 1 where some photos failed."""
    from sdic.faces.folder import paste_folder
    from sdic.utils.text import printable

    out = Path(args.out)
    failed = paste_folder(
        Path(args.edited), Path(args.crops), out, lambda text: print(printable(text), file=sys.stderr)
    )
    print(f"{out}; {failed} photos failed" if failed else out)
    return 1 if failed else 0
