"""`sdic align`, from a clone that was not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdic.cli import main

if __name__ == "__main__":
    sys.exit(main(["align", *sys.argv[1:]]))
