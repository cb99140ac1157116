"""What `sdic interpolate` and `sdic mix` have in common."""

from __future__ import annotations

import argparse
import dataclasses

from sdic.commands.folder import add_looks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The shared options."""
    parser.add_argument(
        "inputs", nargs="*", metavar="A B", help="two photos, saved inversions (*.safetensors) or codes of W+ (*.npy)"
    )
    parser.add_argument("--out", metavar="DIR", help="where everything goes; run again to go on")
    parser.add_argument(
        "--model", metavar="NAME", help="a name that `sdic models` lists, a weight file, or a run's folder"
    )
    parser.add_argument(
        "--option", action="append", metavar="KEY=VALUE", help="an option of the model's method, layer=7"
    )
    parser.add_argument("--rule", metavar="RULE", help="how what was compensated follows: carried (default) or paper")
    parser.add_argument("--device", metavar="D", help="auto (default), cpu, cuda, cuda:1 or mps")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), help="of the networks' arithmetic (fp32)")
    parser.add_argument(
        "--save-inversions", action="store_true", default=None, help="keep the results as inversions, for `sdic edit`"
    )
    add_looks(parser)


def run(args: argparse.Namespace, command: str) -> int:
    """Settings from the options, and the run."""
    from sdic.errors import ConfigError
    from sdic.runner.between import BetweenSettings
    from sdic.runner.between import run as run_settings

    names = {entry.name for entry in dataclasses.fields(BetweenSettings)}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    for word in args.option or []:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--option {word!r}: write KEY=VALUE, such as layer=7")
        given["options"] = {**given.get("options", {}), name: value}
    return run_settings(BetweenSettings(**given), command)
