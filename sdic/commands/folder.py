"""What `sdic invert` and `sdic edit` have in common: their options, and how these become settings."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re

OVERRIDE = re.compile(r"[A-Za-z_][\w.]*=")


def add_arguments(parser: argparse.ArgumentParser, photos: str) -> None:
    """The shared options. All default to None, so that a config file can set what the command line leaves out."""
    parser.add_argument(
        "inputs",
        nargs="*",
        metavar="PHOTOS",
        help=f"{photos},\nfolders or zips of them (searched through), or `examples`: the bundled portraits, unless\n"
        "there is something of that name here; a word key=value sets anything of sdic/runner/settings.py",
    )
    parser.add_argument("--out", metavar="DIR", help="where everything goes; run again to go on or to add edits")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a name that `sdic models` lists, a weight file, or a training run's folder;\n"
        "for `examples` it is portraits if left out",
    )
    parser.add_argument(
        "--method", metavar="NAME", help="another method than the model's own, on the same networks, such as e4e"
    )
    parser.add_argument(
        "--refine",
        metavar="NAME",
        help="a method, model or weight file that goes on from the model's codes (pti, wplus, ...), or several one\n"
        "after the other (wplus+pti); --option is then of the last one, and start.KEY=VALUE of the first",
    )
    parser.add_argument("--config", metavar="FILE", help="YAML file with the same settings; options go before it")
    parser.add_argument(
        "--option", action="append", dest="option", metavar="KEY=VALUE", help="an option of the model's method, layer=7"
    )
    add_aligning(parser)
    parser.add_argument("--device", metavar="D", help="auto (default), cpu, cuda, cuda:1 or mps")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), help="of the networks' arithmetic (fp32)")
    parser.add_argument("--batch-size", type=int, metavar="N", help="photos at a time (4, or 1 on a CPU)")
    parser.add_argument("--shard", metavar="I/N", help="part I (from 0) of N of the sorted photos; torchrun needs none")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N photos")
    parser.add_argument(
        "--save-inversions", action="store_true", default=None, help="keep inversions as OUT/inversions/*.safetensors"
    )
    parser.add_argument(
        "--save-latents",
        action="store_true",
        default=None,
        help="keep the codes alone (W+, a hundredth of the size, without what a method adds) as OUT/latents/*.npy",
    )
    add_looks(parser)


def add_looks(parser: argparse.ArgumentParser) -> None:
    """What else to make of the pictures."""
    parser.add_argument(
        "--look",
        metavar="WORDS",
        help="below OUT/look: strip (all pictures of a photo in a row), grid (two sweeps against each other), webp,\n"
        "gif, mp4 (a sweep that moves; needs PyAV), page (one HTML file); joined by commas",
    )
    parser.add_argument("--fps", type=float, metavar="N", help="pictures a second of webp, gif and mp4 (10)")


def add_aligning(parser: argparse.ArgumentParser, usual: str = "auto") -> None:
    """How raw photos are aligned. All default to None. usual: what then holds for --align."""
    means = {
        "auto": "cuts the faces out of raw photos for models of faces, and leaves aligned ones as they are",
        "always": "also out of aligned ones, and for any model of square pictures",
        "never": "takes photos as they are",
    }
    text = "\n".join(f"{name}{' (default)' * (name == usual)} {meaning};" for name, meaning in means.items())
    parser.add_argument("--align", choices=tuple(means), help=text.rstrip(";"))
    parser.add_argument("--face", metavar="F", help="largest (default), all, or N: from the left, from 1")
    parser.add_argument(
        "--landmarks",
        metavar="FILE",
        help="instead of a detector: 5 or 68 points for each photo: .csv (name,x1,y1,x2,y2,...)\n"
        "or .json ({name: [[x, y], ...]})",
    )
    parser.add_argument("--detector", metavar="D", help="auto (default), mediapipe or yunet; see: sdic download faces")


def run(args: argparse.Namespace, command: str) -> int:
    """Defaults, then the config file, then key=value words, then options; then the run itself."""
    from sdic.config import load_config
    from sdic.errors import ConfigError
    from sdic.runner.run import run as run_settings
    from sdic.runner.settings import RunSettings

    overrides = [word for word in args.inputs if OVERRIDE.match(word) and not os.path.lexists(word)]
    settings = load_config(RunSettings, args.config, overrides)
    names = {entry.name for entry in dataclasses.fields(RunSettings)} - {"inputs"}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    for word in args.option or []:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"--option {word!r}: write KEY=VALUE, such as layer=7")
        given["options"] = {**given.get("options", settings.options), name: value}
    inputs = [word for word in args.inputs if word not in overrides]
    if inputs:
        given["inputs"] = inputs
    return run_settings(dataclasses.replace(settings, **given), command)
