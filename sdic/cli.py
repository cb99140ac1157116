"""The `sdic` command: one dict from a word to the module that does it.

Nothing here imports torch, so that help and usage errors come at once; a command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from sdic import __version__
from sdic.errors import ConfigError, SdicError, did_you_mean
from sdic.utils.text import printable

COMMANDS = {
    "invert": "invert photos: OUT/inversion/, a contact sheet and a report",
    "edit": "invert photos (or take saved inversions) and edit them",
    "directions": "find directions in a generator, and look at those that are known",
    "interpolate": "draw the way from one photo to another",
    "mix": "give a photo the style of another: some of its latent rows",
    "align": "cut the faces out of raw photos, as FFHQ's are",
    "paste": "put edited crops back into their photos",
    "models": "list the models, their files and what is here",
    "download": "fetch the files of a model, or say how to get them by hand",
    "convert": "turn a weight file of any known layout into safetensors",
    "train": "train a method's networks, a generator, e4e, or what a domain measures with",
    "build": "train everything of a domain, from nothing to the files that ship",
    "evaluate": "measure how well methods invert and edit, in tables, a sheet and a report",
}
"""name -> help. Each is a module `sdic.commands.NAME` with add_arguments(parser) and run(args) -> exit code."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 1 (some photos failed), 2 (nothing could be done), 130 (Ctrl-C)."""
    for stream in (sys.stdout, sys.stderr):  # file names may hold anything
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = _one_line
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words[:1] == ["pretrain"]:
            raise ConfigError(_now(words[1] if len(words) > 1 else "all"))
        if words and not words[0].startswith("-") and words[0] not in commands():
            print(
                f"error: unknown command {words[0]!r}{did_you_mean(words[0], commands())}; "
                f"commands: {', '.join(commands())}",
                file=sys.stderr,
            )
            return 2
        parser, children = build_parser(words[0] if words else "")
        if not words or words[0] not in children:
            parser.parse_args(words)  # --help, --version, or what is wrong
            parser.print_help()
            return 0
        if hasattr(module(words[0]), "explain"):  # help that depends on the other words
            module(words[0]).explain(children[words[0]], words[1:])
        return module(words[0]).run(_parse(children[words[0]], words[1:]))
    except SdicError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `sdic models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _now(stage: str) -> str:
    """What `sdic pretrain STAGE` is called now."""
    words = {"all": "sdic build portraits", "encoder": "sdic train e4e"}.get(stage, f"sdic train {stage}")
    return f"`sdic pretrain {stage}` is `{words}` now, and settings count images, not steps ({words} --help)"


def _one_line(message: Warning | str, *_: Any, **__: Any) -> str:
    """A warning as the commands print it, without the line of code that it comes from."""
    return f"warning: {message}\n"


def commands() -> dict[str, str]:
    """The commands of this copy of sdic, with their help."""
    return {
        name: text for name, text in COMMANDS.items() if importlib.util.find_spec(f"sdic.commands.{name}") is not None
    }


def module(command: str) -> Any:
    """The module of a command."""
    return importlib.import_module(f"sdic.commands.{command}")


def build_parser(
    command: str | None = None,
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser and those of the commands; only the given command's own arguments are filled in (None: of all)."""
    parser = argparse.ArgumentParser(
        prog="sdic", description="Invert a real photo into a frozen StyleGAN2, keep its details, and edit it."
    )
    parser.add_argument("--version", action="version", version=f"sdic {__version__}")
    choices = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in commands().items():
        child = choices.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", formatter_class=argparse.RawTextHelpFormatter
        )
        if command in (None, name):
            module(name).add_arguments(child)
    return parser, choices.choices  # type: ignore[return-value]


def _parse(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """Words before, between and after options alike, where the command's arguments allow it.

    What follows `--` are files, even if they begin with a hyphen; argparse does not always see it so.
    """
    words = list(words)
    if "--" in words:
        end = words.index("--")
        words = words[:end] + [f"./{word}" if word.startswith("-") else word for word in words[end + 1 :]]
    try:
        return parser.parse_intermixed_args(words)
    except TypeError:  # argparse cannot mix some kinds of arguments
        return parser.parse_args(words)
