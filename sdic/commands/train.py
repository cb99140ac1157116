"""`sdic train TASK`: train a method, a generator, e4e, or a domain's networks from a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

EPILOG = """\
examples:
  sdic train sdic --config configs/train/debug.yaml                      a minute on a CPU, needs no files
  sdic train sdic --config configs/train/ffhq.yaml data.path=FOLDER      the paper's settings
  sdic train sdic --config configs/train/ffhq.yaml data.path=FOLDER --dry-run
  sdic train generator --config configs/portraits/generator_folder.yaml data.path=FOLDER
  torchrun --nproc-per-node 4 scripts/train.py sdic --config ...         four GPUs (the batch is split over them)

`sdic train TASK --help` explains every setting of a task. The same command again goes on where the run in run.dir
stopped; it ends with 0 when finished, 3 when run.minutes were over before, 130 after Ctrl-C.
"""


def add_arguments(parser: argparse.ArgumentParser, words: Sequence[str] = ()) -> None:
    """Describe the command's words. words: those that were given: a task among them has its settings explained."""
    parser.description = "Train a method's networks, a generator, e4e, or what a domain measures with."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("task", nargs="?", metavar="TASK", help="what is trained: sdic, generator, e4e, ...")
    parser.add_argument("--config", metavar="FILE", help="YAML file, such as configs/train/ffhq.yaml; default: none")
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config, sizes and memory, and stop")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings that differ, such as optim.lr=1e-4")
    if {"-h", "--help"} & set(words):
        from sdic.settings import as_help
        from sdic.training.task import tasks

        known = tasks()
        chosen = [word for word in words if word in known]
        if chosen:
            entry = known[chosen[0]]
            parser.epilog = f"settings of {chosen[0]} ({entry.meaning}):\n{as_help(entry.config())}"
        else:
            parser.epilog = "tasks:\n" + "".join(f"  {n:22s} {e.meaning}\n" for n, e in known.items()) + "\n" + EPILOG


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns the exit code."""
    from sdic.config import load_config
    from sdic.errors import ConfigError
    from sdic.training.loop import train
    from sdic.training.task import find_task

    if args.task is None or "=" in args.task:
        words = f"--config {args.config}" if args.config else "--config FILE"
        raise ConfigError(f"say what is trained: sdic train sdic {words} ... (sdic train --help lists the tasks)")
    entry = find_task(args.task)
    return train(entry, load_config(entry.config, args.config, args.settings), args.dry_run)
