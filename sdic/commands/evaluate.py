"""`sdic evaluate --domain portraits --methods e4e,sdic`: inversion, and editing against ground truth, in numbers."""

from __future__ import annotations

import argparse

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
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "photos",
        nargs="?",
        default="",
        metavar="PHOTOS",
        help="folder or zip of photos, or `examples`: inversion only; without it, the pictures that the domain draws",
    )
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
    parser.add_argument("--edit-limit", type=int, default=200, metavar="N", help="those of them that are edited (200)")
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
    parser.add_argument("--sheet", type=int, default=4, metavar="N", help="pictures on the sheet (4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the generator's samples (0)")


def run(args: argparse.Namespace) -> int:
    """Measure; 0, or 1 when some photos could not be read."""
    import dataclasses
    import json
    import sys
    from pathlib import Path

    from sdic import zoo
    from sdic.evaluation.run import Settings, evaluate
    from sdic.runner.records import at_work
    from sdic.runner.report import versions
    from sdic.runner.sheet import Row, make_sheets
    from sdic.utils.files import write_atomic

    names = {entry.name for entry in dataclasses.fields(Settings)}
    given = {name: value for name, value in vars(args).items() if name in names}
    given |= {"methods": [word for word in args.methods.split(",") if word], "changes": args.change}
    settings = Settings(**{**given, "photos": str(zoo.examples_meant(args.photos) or args.photos)})
    out = Path(settings.out)
    with at_work(out):
        result = evaluate(settings, versions())
        if result.rows:
            rows = [Row(name, tuple(files)) for name, files in result.rows]
            make_sheets(out, "sheet", result.labels, rows, len(rows), 1)
    if args.json:
        write_atomic(args.json, json.dumps(result.methods, indent=1) + "\n")
    print(result.text)
    print(f"\n-> {out / 'report.json'}" + (f", see {out / 'sheet.png'}" if result.rows else ""))
    for problem in result.problems:
        print(f"  failed: {problem}", file=sys.stderr)
    return 1 if result.problems else 0
