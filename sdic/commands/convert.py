"""`sdic convert FILE --out FILE.safetensors`: any known weight file -> ours, which loads fast and executes nothing."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import defaultdict
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic convert`."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="SDIC, e4e, pSp, StyleGAN2 (rosinality's .pt, NVIDIA's .pkl), ArcFace, CurricularFace,\nMoCo",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write; must end in .safetensors")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="read a pickle that can execute code on this machine;\nonly for a file whose maker you trust",
    )
    parser.add_argument("--half", action="store_true", help="store float16: half the size, slightly other pictures")
    parser.add_argument("--force", action="store_true", help="overwrite the output")


def run(args: argparse.Namespace) -> int:
    """Convert, and say what was mapped and what was left out, and why."""
    from sdic.errors import SdicError
    from sdic.utils.text import one_line, printable

    source, target = Path(args.file), Path(args.out)
    if target.suffix != ".safetensors":
        raise SdicError(f"--out {target}: must end in .safetensors")
    if target.exists() and not args.force:
        raise SdicError(f"{target.absolute()} exists; add --force to overwrite it")
    if args.trust:
        print(f"warning: --trust: {source} may execute code on this machine while it is read", file=sys.stderr)

    import torch

    from sdic.checkpoints import read_bundle, write_native
    from sdic.loading import geometry_of

    try:
        bundle = read_bundle(source, trust=args.trust)
    except SdicError:
        raise
    except Exception as error:
        if not args.trust:
            raise
        raise SdicError(f"{source}: --trust did not help: {type(error).__name__} ({one_line(error)})") from error
    if {"generator", "encoder"} <= set(bundle.networks):
        bundle.source["geometry"] = geometry_of(bundle).to_text()
    elif "assumed" in bundle.source:
        warnings.warn(f"{source}: {bundle.source['assumed']}", stacklevel=2)
    try:
        write_native(target, bundle.networks, bundle.source, torch.float16 if args.half else None)
    except OSError as error:
        raise SdicError(f"cannot write {target.absolute()}: {error.strerror or error}") from error
    print(f"{source} ({bundle.source.get('layout', 'ours')}, sha256 {bundle.source['sha256'][:16]}...) -> {target}")
    for role, network in bundle.networks.items():
        state = network.state_dict()
        millions = sum(tensor.numel() for tensor in state.values()) / 1e6
        print(f"  {role}: {len(state)} tensors, {millions:.2f} million numbers")
    reasons = defaultdict(list)
    for key, reason in bundle.dropped.items():
        reasons[reason].append(key)
    for reason, keys in sorted(reasons.items(), key=lambda entry: -len(entry[1])):
        listed = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
        print(f"  left out, {reason}: {len(keys)} ({printable(listed)})")
    return 0
