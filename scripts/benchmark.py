#!/usr/bin/env python
"""Time the fast paths against the plain reference, in one run: `python scripts/benchmark.py --json FILE`.

The slow side is the same networks computed through `sdic.ops.use_reference()`: grouped modulated convolution, zero-
stuffing filters, contiguous NCHW, normalisation as layers of its own. Both sides run in this process, with the same
threads and weights (random, full size); each time is the best of several runs. Outputs must agree to 1e-4 of their std.

    python scripts/benchmark.py                 # inversion and editing at 1024 px
    python scripts/benchmark.py edit            # ten edits beside two inversions; the memory of a video
    python scripts/benchmark.py train           # training step (see sdic/training)
    python scripts/benchmark.py tune            # a step of tuning the generator for one photo (PTI), on a CPU
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdic.commands.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
