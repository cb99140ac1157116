"""`sdic train`: train DIPN and DICN from a config."""

from __future__ import annotations

import argparse

EPILOG = """\
examples:
  sdic train --config configs/train/debug.yaml                      a minute on a CPU, needs no files
  sdic train --config configs/train/ffhq.yaml data.path=FOLDER      the paper's settings
  sdic train --config configs/train/ffhq.yaml data.path=FOLDER --dry-run
  torchrun --nproc-per-node 4 scripts/train.py --config configs/train/ffhq.yaml data.path=FOLDER optim.batch=8
                                                                    four GPUs, each with 2 of the 8 pictures of a step

The same command again goes on where the run in run.dir stopped. docs/training.md explains every setting.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's words."""
    parser.description = "Train DIPN and DICN; everything else stays frozen."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--config", metavar="FILE", help="YAML file, such as configs/train/ffhq.yaml; default: none")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config, sizes and memory, and stop")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings that differ, such as optim.lr=1e-4")


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns the exit code."""
    from sdic.config import load_config
    from sdic.training.config import TrainConfig
    from sdic.training.trainer import train

    return train(load_config(TrainConfig, args.config, args.settings), args.dry_run)
