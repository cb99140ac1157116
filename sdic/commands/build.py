"""`sdic build`: everything of a domain from nothing, in order, each training resumed or skipped."""

from __future__ import annotations

import argparse

EPILOG = """\
examples:
  sdic build portraits --variant 64                 64 px, two CPU cores: four hours, resumable
  sdic build portraits --variant 64 --minutes 60    stop cleanly after an hour; the same command goes on
  sdic build portraits --stages encoder encoder:run.images=80000

The same command again goes on where the last one stopped. It ends with 0 when all is there, else with 3.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's words."""
    parser.description = "Train everything of a domain, from its generator to the inverters, into the files that ship."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("domain", help="what is built: a domain that is drawn, such as portraits")
    parser.add_argument("--variant", choices=("128", "64", "debug"), default="128", help="which set of configs")
    parser.add_argument("--minutes", type=float, default=0.0, metavar="M", help="stop cleanly after M minutes")
    parser.add_argument("--stages", default="", metavar="A,B", help="only these stages")
    parser.add_argument("--out", default="pretrained/portraits", metavar="DIR", help="where the files that ship go")
    parser.add_argument("--runs", default="runs/portraits", metavar="DIR", help="run folders and rendered pictures")
    parser.add_argument("--editings", default="editings", metavar="DIR", help="the directions' manifest and files")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda:1, ...")
    parser.add_argument(
        "settings", nargs="*", metavar="STAGE:key=value", help="settings that differ, as encoder:run.images=80000"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command. Returns 0 when finished, 3 when the time was over before (the same command goes on)."""
    import importlib
    from pathlib import Path

    from sdic.domains import modules
    from sdic.errors import ConfigError, UnknownNameError
    from sdic.utils.tensors import resolve_device

    resolve_device(args.device)
    if not args.minutes >= 0:
        raise ConfigError(f"--minutes must be 0 (no limit) or more, got {args.minutes}")
    if args.domain not in modules("build"):
        raise UnknownNameError("domain to build", args.domain, modules("build"))
    module = importlib.import_module(modules("build")[args.domain])
    settings: dict[str, tuple[str, ...]] = {}
    for word in args.settings:
        stage, colon, rest = word.partition(":")
        if not colon or stage not in module.ORDER:
            raise ConfigError(f"{word!r}: write STAGE:key=value, STAGE one of {', '.join(module.ORDER)}")
        settings[stage] = (*settings.get(stage, ()), rest)
    suffix = "" if args.variant == "128" else f"_{args.variant}"
    folders = (Path(args.out), Path(args.runs), Path(args.editings))
    plan = module.Plan(suffix, *folders, minutes=args.minutes, device=args.device, settings=settings)
    return 0 if module.build(plan, args.stages.split(",") if args.stages else module.ORDER) else 3
