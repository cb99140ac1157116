"""`sdic pretrain`: train what SDIC keeps frozen (with `all` everything), for portraits or for your own pictures."""

from __future__ import annotations

import argparse

STAGES = ("attributes", "identity", "generator-supervised", "generator", "encoder", "directions", "all")
SHARED = ("minutes", "device")
"""Options of every stage."""
ALL_ONLY = ("variant", "stages", "out", "runs", "editings")
EPILOG = """\
stages:
  attributes            yaw, smile and age from a picture; its features are the perceptual distance
  identity              the same person across pose, age and light
  generator-supervised  StyleGAN2 taught by the renderer: portraits only
  generator             StyleGAN2's adversarial training: from the stage before, or your own pictures from nothing
  encoder               e4e for a generator
  directions            InterFaceGAN directions in the attributes' units
  all                   everything in order, and SDIC at the end, into pretrained/portraits

examples:
  sdic pretrain all --variant 64 --minutes 60
  sdic pretrain generator --config configs/portraits/generator_folder.yaml data.path=PICTURES
  sdic pretrain encoder --config configs/portraits/encoder.yaml --minutes 9

The same command again goes on where the last one stopped.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's words."""
    parser.description = "Train generator, e4e, and the networks of losses and metrics."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("stage", choices=STAGES, metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--config", metavar="FILE", help="YAML file, such as configs/portraits/generator.yaml")
    parser.add_argument("--variant", choices=("128", "64", "debug"), help="all: which set of configs (128)")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop cleanly after M minutes (not for directions)")
    parser.add_argument("--stages", metavar="A,B", help="all: only these stages")
    parser.add_argument("--out", metavar="DIR", help="all: where the files that ship go (pretrained/portraits)")
    parser.add_argument("--runs", metavar="DIR", help="all: run folders and rendered pictures (runs/portraits)")
    parser.add_argument("--editings", metavar="DIR", help="all: the directions' manifest and files (editings)")
    parser.add_argument("--device", metavar="D", help="auto (default), cpu, cuda:1, ...")
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="settings that differ (all: begin with STAGE:, as encoder:run.steps=9)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0 when finished, 3 when the time was over before (the same command goes on)."""
    from sdic.utils.tensors import resolve_device

    _refuse(args)
    resolve_device(args.device or "auto")
    if args.stage == "all":
        return _all(args)
    words = [*args.settings, *(f"run.{name}={value}" for name in SHARED if (value := getattr(args, name)) is not None)]
    if args.stage == "directions":
        import json

        from sdic.config import load_config
        from sdic.pretraining.config import DirectionsConfig
        from sdic.pretraining.directions import find_directions

        print(json.dumps(find_directions(load_config(DirectionsConfig, args.config, words)), indent=2))
        return 0
    from sdic.pretraining.loop import train
    from sdic.pretraining.stages import build_stage

    return 0 if train(build_stage(args.stage, args.config, words)) else 3


def _refuse(args: argparse.Namespace) -> None:
    """ConfigError for an option that the stage would not heed."""
    from sdic.errors import ConfigError

    for name in ("config",) if args.stage == "all" else ALL_ONLY:
        if getattr(args, name) is not None:
            remedy = (
                "settings of one stage are written STAGE:key=value"
                if args.stage == "all"
                else "one stage takes --config FILE and key=value, such as run.dir=DIR"
            )
            raise ConfigError(f"--{name} is not for `sdic pretrain {args.stage}`; {remedy}")
    if args.minutes is not None and not args.minutes >= 0:
        raise ConfigError(f"--minutes must be 0 (no limit) or more, got {args.minutes}")
    if args.minutes is not None and args.stage == "directions":
        raise ConfigError("--minutes is not for `sdic pretrain directions`, which takes some minutes and cannot go on")


def _all(args: argparse.Namespace) -> int:
    from pathlib import Path

    from sdic.errors import ConfigError
    from sdic.pretraining.build import ORDER, Plan, build

    settings: dict[str, tuple[str, ...]] = {}
    for word in args.settings:
        stage, colon, rest = word.partition(":")
        if not colon or stage not in ORDER:
            raise ConfigError(f"{word!r}: write STAGE:key=value, STAGE one of {', '.join(ORDER)}")
        settings[stage] = (*settings.get(stage, ()), rest)
    suffix = "" if args.variant in (None, "128") else f"_{args.variant}"
    out, runs = Path(args.out or "pretrained/portraits"), Path(args.runs or "runs/portraits")
    editings = Path(args.editings or "editings")
    minutes, device = args.minutes or 0.0, args.device or "auto"
    plan = Plan(suffix, out, runs, editings, minutes=minutes, device=device, settings=settings)
    stages = args.stages.split(",") if args.stages else ORDER
    return 0 if build(plan, stages) else 3
