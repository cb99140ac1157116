"""Train from a clone, and what torchrun starts: `torchrun --nproc-per-node 2 scripts/train.py sdic --config ...`."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdic.commands.train import add_arguments, explain, run
from sdic.errors import SdicError

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="train.py")
    add_arguments(parser)
    explain(parser, sys.argv[1:])
    try:
        sys.exit(run(parser.parse_intermixed_args()))
    except SdicError as error:
        sys.exit(f"error: {error}")
