"""`python -m sdic` is the `sdic` command."""

import sys

from sdic.cli import main

if __name__ == "__main__":
    sys.exit(main())
