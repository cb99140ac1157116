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
  torchrun --nproc-per-node 4 scripts/train.py sdic --config configs/train/ffhq.yaml data.path=FOLDER optim.batch=8
                                                                         four GPUs, each with 2 of the 8 pictures a step

`sdic train TASK --help` explains every setting of a task. The same command again goes on where the run in run.dir
stopped; it ends with 0 when finished, 3 when run.minutes were over before, 130 after Ctrl-C.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's words."""
    parser.description = "Train a method's networks, a generator, e4e, or what a domain measures with."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("task", nargs="?", metavar="TASK", help="what is trained: sdic, generator, e4e, ...")
    parser.add_argument("--config", metavar="FILE", help="YAML file, such as configs/train/ffhq.yaml; default: none")
    parser.add_argument(
        "--align",
        choices=("never", "auto", "always"),
        help="raw photos of faces, for methods that learn to invert: short for data.align=auto ...",
    )
    parser.add_argument("--dry-run", action="store_true", help="print the resolved config, sizes and memory, and stop")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings that differ, such as optim.lr=1e-4")


def explain(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Let `--help` list the tasks, or explain the settings of the task among the words."""
    if {"-h", "--help"} & set(words):
        from sdic.settings import as_help
        from sdic.training.task import tasks

        known = tasks()
        parser.epilog = "tasks:\n" + "".join(f"  {n:22s} {e.meaning}\n" for n, e in known.items()) + "\n" + EPILOG
        for word in words:
            if word in known:
                parser.epilog = f"settings of {word} ({known[word].meaning}):\n{as_help(known[word].config())}"


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns the exit code."""
    from sdic.config import load_config
    from sdic.errors import ConfigError
    from sdic.training.loop import train
    from sdic.training.task import find_task

    if args.task is None or "=" in args.task:
        config = f"--config {args.config}" if args.config else "--config FILE"
        raise ConfigError(f"say what is trained: sdic train sdic {config} ... (sdic train --help lists the tasks)")
    entry = find_task(args.task)
    words = [*args.settings, *([f"data.align={args.align}"] if args.align else [])]
    return train(entry, load_config(entry.config, args.config, words), args.dry_run)
