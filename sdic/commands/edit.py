"""`sdic edit PHOTOS --out DIR --model NAME --edit age=3 --edit smile=-2:2:5`."""

from __future__ import annotations

import argparse

from sdic.commands import folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic edit`."""
    folder.add_arguments(
        parser,
        "photos (raw ones of faces are aligned as in FFHQ, and come back edited at their size), videos, saved\n"
        "inversions (*.safetensors), or codes of W+ of this or another tool (*.npy, *.npz, *.pt)",
    )
    parser.add_argument(
        "--edit",
        action="append",
        dest="edits",
        metavar="WHAT",
        help="age=3, a sweep smile=-2:2:5 (start:stop:count), several together age=3,smile=1;\n"
        "a name of editings/manifest.yaml, pc0, pc1, ... or a direction file, of a GANSpace file its component\n"
        "file.npz#2=3; may be repeated",
    )
    parser.add_argument(
        "--edits", dest="edit_list", metavar="FILE", help="a YAML list of edits with names (docs/editing.md)"
    )
    parser.add_argument(
        "--mask",
        metavar="FILE",
        help="edit only inside: a picture of the outputs' size, white where the edit acts, or a folder of them with\n"
        "the photos' names; edit lists can draw regions",
    )
    parser.add_argument(
        "--domain",
        metavar="NAME",
        help="whose direction names are meant (face, car, portraits, ...), for a weight file that does not say\n"
        "what it draws; pc0, pc1, ... are always the model's own",
    )
    parser.add_argument(
        "--attributes",
        metavar="NAME",
        help="network in whose unit amounts are, so that age=20 is twenty years for every photo: model or file\n"
        "(the domain's, if it has one); none for the directions' own units",
    )
    parser.add_argument(
        "--rule",
        metavar="RULE",
        help="of methods with a rule: what was compensated is carried along with the edit's motion (carried,\n"
        "default), stays at its place by equation 6 (paper), or is treated as in the authors' code (released)",
    )


def run(args: argparse.Namespace) -> int:
    """Edit; 0, or 1 when some photos failed."""
    return folder.run(args, "edit")
