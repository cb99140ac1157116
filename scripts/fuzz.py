"""Reads many damaged files with every parser of `tests/fuzz/parsers.py`, and writes what came of it.

    python scripts/fuzz.py --inputs 100000 --out docs/fuzz.md

Every parser works in processes of its own, so that a crash or a hang ends one of them, and is reported with the words
that make it again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main() -> int:
    """Exit code 1 if anything left a closed list."""
    from tests.fuzz.longrun import run
    from tests.fuzz.parsers import PARSERS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=1000, help="in all, shared among the parsers")
    parser.add_argument("--parsers", nargs="+", default=list(PARSERS), choices=list(PARSERS), metavar="NAME")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=20.0, help="seconds that one file may take")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument(
        "--keep", type=Path, default=Path("runs/fuzz"), help="folder for files that leave a closed list"
    )
    parser.add_argument("--out", type=Path, help="a file for the summary, in Markdown")
    args = parser.parse_args()
    text, clean = run(args.parsers, args.inputs, args.seed, args.limit, args.jobs, args.keep)
    print(text)
    if args.out is not None:
        args.out.write_text(text)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
