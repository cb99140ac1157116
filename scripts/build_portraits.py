"""Retrain everything that ships for portraits, from nothing: `python scripts/build_portraits.py --variant 64`.

The same as `sdic build portraits`, from a clone.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdic.commands.build import add_arguments, run
from sdic.errors import SdicError

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="build_portraits.py")
    add_arguments(parser)
    try:
        sys.exit(run(parser.parse_intermixed_args(["portraits", *sys.argv[1:]])))
    except SdicError as error:
        sys.exit(f"error: {error}")
