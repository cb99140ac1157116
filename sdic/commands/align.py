"""`sdic align PHOTOS --out DIR`: the faces of raw photos as crops like those of FFHQ."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic align`."""
    parser.add_argument(
        "inputs", nargs="+", metavar="PHOTOS", help="photos, folders or zips of them (searched through)"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="for crops (PNG), and crops.json: where they lie")
    parser.add_argument("--size", type=int, default=1024, metavar="N", help="side of the crops in pixels (1024)")
    parser.add_argument(
        "--align",
        choices=("auto", "always"),
        default="auto",
        help="auto (default) leaves photos as they are that are such crops already",
    )
    parser.add_argument(
        "--face", default="largest", metavar="F", help="largest (default), all, or N: from the left, from 1"
    )
    parser.add_argument(
        "--landmarks",
        default="",
        metavar="FILE",
        help="5 or 68 points for each photo: .csv (name,x1,y1,x2,y2,...)\nor .json ({name: [[x, y], ...]})",
    )
    parser.add_argument("--detector", default="auto", metavar="D", help="auto (default), mediapipe or yunet")
    parser.add_argument("--device", default="cpu", metavar="D", help="for mediapipe: cpu (default), cuda, mps")


def run(args: argparse.Namespace) -> int:
    """Align; 0, or 1 where some photos failed."""
    from sdic.errors import ConfigError
    from sdic.faces.alignment import LARGEST
    from sdic.faces.finding import Aligner, AlignSettings
    from sdic.faces.folder import RECORD, align_folder
    from sdic.utils.tensors import resolve_device
    from sdic.utils.text import printable

    if not 16 <= args.size <= LARGEST:
        raise ConfigError(f"--size {args.size}: 16 to {LARGEST} pixels")
    settings = AlignSettings(args.align, args.face, args.landmarks, args.detector)
    aligner = Aligner(settings, str(resolve_device(args.device)))
    out = Path(args.out)
    failed = align_folder(args.inputs, out, aligner, args.size, lambda text: print(printable(text), file=sys.stderr))
    print(f"{out / RECORD}; {failed} photos failed" if failed else out / RECORD)
    return 1 if failed else 0
