"""Train the ablations of the paper's Tables 2 and 3 and Figure 4 on portraits, one after the other, and measure them.

    python scripts/ablations.py                                       # all
    python scripts/ablations.py dipn --set run.images=9600            # those of DIPN, each with these settings
    python scripts/ablations.py --limit 1000                          # how many test portraits measure them

One config with one switch each (configs/portraits/ablations), with the same pictures in the same order, budget and
seed. Those of DIPN (`dipn`) learn the map for a DICN that is given; those of DICN (`dicn`) get the plain difference as
the map: so a switch is measured by itself in minutes. What is trained is skipped, a stopped training goes on, and so
does the evaluation, which compares each with the first, picture by picture. OUT/evaluate-FAMILY/tables.md is to read.
"""

import argparse
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGS = REPOSITORY / "configs" / "portraits" / "ablations"
FAMILIES = {"dipn": ("full", "no_att", "no_sc"), "dicn": ("difference", "affine_fusion", "layer3", "layer7")}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", default=list(FAMILIES), metavar="FAMILY", help="dipn, dicn")
    parser.add_argument("--runs", type=Path, default=Path("runs/portraits/ablations"), help="holds a folder for each")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all of them")
    parser.add_argument("--limit", type=int, default=1000, help="test portraits that each is measured on")
    options = parser.parse_args()
    wrong = [family for family in options.families if family not in FAMILIES]
    if wrong:
        parser.error(f"there is no family {wrong[0]!r}; they are {', '.join(FAMILIES)}")
    for family in options.families:
        names = FAMILIES[family]
        for name in names:
            folder = options.runs / name
            if not (folder / "result" / "metrics.json").is_file():
                words = ["--config", str(CONFIGS / f"{name}.yaml"), f"run.dir={folder}", *options.set]
                code = sdic("train", "sdic", *words)
                if code != 0:  # 3: the time of this call is over
                    return code
        words = ["--methods", ",".join(f"{name}={options.runs / name}" for name in names), "--edit-limit", "0"]
        out = ["--limit", str(options.limit), "--out", str(options.runs / f"evaluate-{family}")]
        code = sdic("evaluate", "--domain", "portraits", *words, *out)
        if code != 0:
            return code
    return 0


def sdic(*words: str) -> int:
    """A command of its own process, as a person would type it."""
    print("sdic", *words, flush=True)
    return subprocess.run([sys.executable, "-m", "sdic", *words], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
