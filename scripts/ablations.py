"""Train the ablations of the paper's Tables 2 and 3 and Figure 4 on portraits, one after the other, and measure them.

    python scripts/ablations.py                                       # all, in ORDER
    python scripts/ablations.py full no_att --set run.images=4000     # some, each with these settings
    python scripts/ablations.py --limit 1000                          # how many test portraits measure them

One config with one switch each (configs/portraits/ablations), with the same pictures in the same order, budget and
seed. What is trained is skipped, a stopped training goes on, and so does the evaluation, which compares every one with
the first, picture by picture. OUT/tables.md is what there is to read.
"""

import argparse
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGS = REPOSITORY / "configs" / "portraits" / "ablations"
ORDER = ("full", "no_sc", "no_att", "no_sc_no_att", "affine_fusion", "layer3", "layer7", "difference")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=ORDER, metavar="NAME", help=f"of {', '.join(ORDER)}")
    parser.add_argument("--runs", type=Path, default=Path("runs/portraits/ablations"), help="holds a folder for each")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all of them")
    parser.add_argument("--limit", type=int, default=1000, help="test portraits that each is measured on")
    options = parser.parse_args()
    wrong = [name for name in options.names if not (CONFIGS / f"{name}.yaml").is_file()]
    if wrong:
        parser.error(f"there is no {CONFIGS / wrong[0]}.yaml")
    for name in options.names:
        folder = options.runs / name
        if not (folder / "result" / "metrics.json").is_file():
            words = ["--config", str(CONFIGS / f"{name}.yaml"), f"run.dir={folder}", *options.set]
            code = sdic("train", "sdic", *words)
            if code != 0:  # 3: the time of this call is over
                return code
    methods = ",".join(f"{name}={options.runs / name}" for name in options.names)
    words = ["--methods", methods, "--limit", str(options.limit), "--edit-limit", "0"]
    return sdic("evaluate", "--domain", "portraits", *words, "--out", str(options.runs / "evaluate"))


def sdic(*words: str) -> int:
    """A command of its own process, as a person would type it."""
    print("sdic", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "sdic", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
