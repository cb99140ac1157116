"""`sdic evaluate --domain portraits --methods e4e,sdic`: inversion, and editing against ground truth, in numbers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from sdic.commands.folder import add_aligning

if TYPE_CHECKING:
    from sdic.evaluation.run import Result

EPILOG = """\
examples:
  sdic evaluate --domain portraits                              a thousand portraits, 200 of them edited
  sdic evaluate --domain portraits --limit 20 --edit-limit 5    a first look, in a minute
  sdic evaluate --domain portraits --methods e4e,mine=runs/mine --json numbers.json
  sdic evaluate examples                                        the bundled portraits: inversion only
  sdic evaluate CELEBA_HQ --domain face                         photos of faces: the metrics of the paper's Table 1
  sdic evaluate PHOTOS --methods runs/mine,other.safetensors    photos of a domain of one's own

The same command again goes on where the last one stopped. A metric whose network is not here is a cell that names the
file it needs. docs/evaluation.md says what each number means.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's words."""
    parser.description = "Measure how well methods invert and edit."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.add_argument(
        "photos",
        nargs="?",
        default="",
        metavar="PHOTOS",
        help="folder or zip of photos, or `examples`: inversion only; without it, the pictures that the domain draws",
    )
    add_aligning(parser, "never")
    parser.add_argument(
        "--domain",
        default="",
        metavar="NAME",
        help="what is in the pictures: face, car, portraits ... (portraits, or for photos that of models and files)",
    )
    parser.add_argument(
        "--methods",
        default="",
        metavar="A,B",
        help="methods, models, weight files, training runs, or LABEL=any of these (the domain's models)",
    )
    parser.add_argument("--limit", type=int, default=1000, metavar="N", help="pictures that are inverted (1000)")
    parser.add_argument("--edit-limit", type=int, metavar="N", help="those of them that are edited (200)")
    parser.add_argument(
        "--change",
        action="append",
        default=[],
        metavar="NAME=A,B",
        help="attribute and changes to ask for, as yaw=5,10,20; may be repeated (default: the domain's)",
    )
    parser.add_argument(
        "--generator", type=int, default=0, metavar="N", help="also the generator's Fréchet distance on N pictures"
    )
    parser.add_argument("--out", default="", metavar="DIR", help="report, tables, sheet (runs/evaluate/DOMAIN)")
    parser.add_argument("--json", metavar="FILE", help="write {method: numbers} there")
    parser.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda, cuda:1 or mps")
    for role, what in (("perceptual", "distance"), ("identity", "identity"), ("attributes", "attributes")):
        help_text = f"network that measures {what}: model or file (the domain's)"
        parser.add_argument(f"--{role}", default="", metavar="NAME", help=help_text)
    parser.add_argument("--sheet", type=int, metavar="N", help="edited pictures on the sheet (4)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the generator's samples (0)")


def run(args: argparse.Namespace) -> int:
    """Measure; 0, or 1 when some photos could not be read."""
    import dataclasses
    import json
    import sys

    from sdic import zoo
    from sdic.evaluation.run import Settings, evaluate
    from sdic.runner.records import at_work
    from sdic.runner.report import versions
    from sdic.utils.files import write_atomic
    from sdic.utils.text import printable

    _refuse(args)
    names = {entry.name for entry in dataclasses.fields(Settings)}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    given |= {"methods": [word for word in args.methods.split(",") if word], "changes": args.change}
    settings = Settings(**{**given, "photos": str(zoo.examples_meant(args.photos) or args.photos)})
    out = Path(settings.out)
    with at_work(out):
        result = evaluate(settings, versions())
        if args.json:
            write_atomic(args.json, json.dumps(result.methods, indent=1) + "\n")
        drawn = _sheet(out, result)
    print(result.text)
    print(f"\n-> {out / 'report.json'}" + (f", see {out / 'sheet.png'}" if drawn else ""))
    for problem in result.problems:
        print(f"  failed: {printable(problem)}", file=sys.stderr)
    return 1 if result.problems else 0


def _refuse(args: argparse.Namespace) -> None:
    """ConfigError for an option that would not be heeded beside the others."""
    from sdic.errors import ConfigError

    given = {"--edit-limit": args.edit_limit, "--change": args.change, "--sheet": args.sheet}
    reason = "photos are inverted, not edited" if args.photos else "--edit-limit 0 edits nothing"
    for option, value in given.items():
        if value and (args.photos or args.edit_limit == 0):
            raise ConfigError(f"{option} has nothing to do here: {reason}")
    if args.seed is not None and not args.generator:
        raise ConfigError("--seed is that of the generator's samples; add --generator N")


def _sheet(out: Path, result: Result) -> bool:
    """Draw the sheet, if there is anything to show; where that fails, the numbers are there all the same."""
    import sys

    from sdic.runner.sheet import Row, make_sheets
    from sdic.utils.text import printable

    rows = [Row(name, tuple(files)) for name, files in result.rows]
    try:
        return bool(rows and make_sheets(out, "sheet", result.labels, rows, len(rows), 1))
    except Exception as error:
        print(f"warning: no sheet: {printable(str(error) or type(error).__name__)}", file=sys.stderr)
        return False
