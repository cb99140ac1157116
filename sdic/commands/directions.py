"""`sdic directions ACTION`: find directions in a generator, and look at those that are known."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

EPILOG = """\
examples:
  sdic directions find age --model portraits --out age.safetensors               by the domain's attribute network
  sdic directions find smile --model sdic-ffhq --with SMILING --without NEUTRAL --out smile.safetensors
  sdic directions find smile --model sdic-ffhq --labels list_attr.csv --photos CELEBA --out smile.safetensors
  sdic directions channels smile --model portraits --take 3 --out smile_channels.safetensors
  sdic directions pca --model portraits --components 10 --out pca.npz            then: --edit pca.npz#2=3
  sdic directions list --domain face
  sdic directions show age --domain portraits
  sdic directions check MINE.npy --model sdic-ffhq

What is found is used at once: sdic edit PHOTOS --out OUT --model NAME --edit age.safetensors=20. docs/directions.md
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `sdic directions`."""
    parser.description = "Find directions in a generator, and look at those that are known."
    parser.epilog = EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text in (
        ("find", "a direction of the code, from labels, a network, or two folders of photos"),
        ("channels", "the channels of the styles that carry an attribute, ranked as StyleSpace does"),
    ):
        _add_search(actions.add_parser(name, help=text, description=text), name)
    child = _child(actions, "pca", "the principal components of the generator's codes (GANSpace)")
    child.add_argument("--components", type=int, default=10, metavar="N", help="how many (10)")
    child.add_argument("--samples", type=int, default=10_000, metavar="N", help="codes drawn (10000)")
    child.add_argument("--seed", type=int, default=0, metavar="N", help="of the codes (0)")
    child.add_argument("--out", required=True, metavar="FILE.npz", help="as GANSpace writes them")
    child = _child(actions, "draw", "pictures of the generator to label by hand, and their codes")
    child.add_argument("--samples", type=int, default=100, metavar="N", help="how many (100)")
    child.add_argument("--seed", type=int, default=0, metavar="N", help="of the codes (0)")
    child.add_argument("--device", default="auto", metavar="D", help="auto (default), cpu, cuda, cuda:1 or mps")
    child.add_argument("--out", required=True, metavar="DIR", help="DIR/00000.png ... and DIR/codes.npy")
    child = _child(actions, "styleclip", "a direction from StyleCLIP's published files", model=False)
    child.add_argument("--table", required=True, metavar="FILE", help="fs3.npy or delta_i_c.npy")
    child.add_argument("--stats", required=True, metavar="FILE", help="S_mean_std")
    child.add_argument("--text", required=True, metavar="FILE", help="CLIP's difference of two texts, [512] in a .npy")
    child.add_argument("--beta", type=float, default=0.13, metavar="B", help="channels of less relevance stay (0.13)")
    child.add_argument("--name", default="", metavar="NAME", help="of the direction (the text file's)")
    child.add_argument("--out", required=True, metavar="FILE.safetensors", help="the direction")
    child = _child(actions, "list", "the directions that have a name", model=False)
    child.add_argument("--domain", metavar="NAME", help="of one domain: face, car, portraits ...")
    child.add_argument("--json", action="store_true", help="for programs")
    child = _child(actions, "show", "what a direction is, by name or file", model=False)
    child.add_argument("name", metavar="NAME", help="age, pc0, s6.501, file.npy, file.npz#2")
    child = _child(actions, "check", "read directions and say what is wrong with them", model=False)
    child.add_argument("names", nargs="*", metavar="NAME", help="names or files (all of the domain)")
    for child in (actions.choices["show"], actions.choices["check"], actions.choices["styleclip"]):
        child.add_argument("--model", default="", metavar="NAME", help="the generator that it is for: model or file")
    for child in (actions.choices["show"], actions.choices["check"]):
        child.add_argument("--domain", metavar="NAME", help="whose names are meant (the model's)")
        child.add_argument("--json", action="store_true", help="for programs")


def _child(actions: Any, name: str, text: str, model: bool = True) -> argparse.ArgumentParser:
    child: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    if model:
        child.add_argument("--model", required=True, metavar="NAME", help="model, weight file or training run")
    return child


def _add_search(parser: argparse.ArgumentParser, action: str) -> None:
    """An option for each setting of a search; their meanings are said once, in `FindSettings`."""
    from sdic.finding.settings import FindSettings

    parser.add_argument("name", metavar="NAME", help="the attribute")
    for field in dataclasses.fields(FindSettings):
        ranks = field.name in ("top", "take")
        fits = field.name in ("condition", "fit", "along", "space", "probes")
        if field.name == "name" or (ranks and action == "find") or (fits and action == "channels"):
            continue
        option = {"present": "with", "absent": "without"}.get(field.name, field.name)
        default = field.default if field.default is not dataclasses.MISSING else []
        shown = "" if default in ("", []) else f" ({default})"
        kind: Any = type(default) if type(default) in (int, float) else str
        extra: dict[str, Any] = {"type": kind, "metavar": "N" if kind in (int, float) else option.upper()}
        extra = {"action": "append", "metavar": "NAME"} if isinstance(default, list) else extra
        extra["help"] = field.metadata["meaning"].replace("%", "%%") + shown
        parser.add_argument(f"--{option}", dest=field.name, **extra)


def run(args: argparse.Namespace) -> int:
    """Do what the action says; 0, or 1 where a checked direction is wrong or a photo was left out."""
    return ACTIONS[args.action](args)


def _search(args: argparse.Namespace) -> int:
    from sdic.finding import FindSettings, find, rank
    from sdic.utils.text import printable

    names = {field.name for field in dataclasses.fields(FindSettings)}
    given = {name: value for name, value in vars(args).items() if name in names and value is not None}
    found = (find if args.action == "find" else rank)(FindSettings(**given))
    report = found.report
    if args.action == "find":
        accuracy, count = report["accuracy"], report["samples"]
        print(f"{report['name']}: held-out accuracy {accuracy:.3f} on {count} codes ({report['fit']})")
        low, high = report["limits"]
        print(f"strength 1: {report['unit']}; useful from {low:g} to {high:g}")
        for name, amount in list(report.get("others_move", {}).items())[2:]:
            print(f"  with one standard deviation of it, {name} moves by {amount:+.2f} of its own")
    else:
        for entry in report["channels"]:
            effect = "".join(f"  {name} {amount:+.2f}" for name, amount in entry.get("effect", {}).items())
            print(f"{entry['channel']:>10}  theta {entry['theta']:6.2f}  sign {entry['sign']:+d}{effect}")
    print(f"-> {printable(args.out)}: sdic edit PHOTOS --out OUT --model {args.model} --edit {printable(args.out)}=1")
    for line in report["left_out"][:20]:
        print(f"  left out: {printable(line)}", file=sys.stderr)
    return 1 if report["left_out"] else 0


def _pca(args: argparse.Namespace) -> int:
    from sdic.editing.ganspace import save_components
    from sdic.finding.opening import Opened

    opened = Opened.of(args.model, "cpu")
    shares = save_components(args.out, opened.generator, args.components, args.samples, args.seed)
    for number, share in enumerate(shares):
        print(f"{number:4d}  {100 * share:5.1f}% of the variance")
    print(f"-> {args.out}: sdic edit PHOTOS --out OUT --model {args.model} --edit {args.out}#0=2")
    return 0


def _draw(args: argparse.Namespace) -> int:
    from sdic.finding import draw

    path = draw(args.model, args.out, args.samples, args.seed, args.device)
    print(f"-> {path}; label its pictures in a CSV: sdic directions find NAME --labels CSV --codes {path} ...")
    return 0


def _styleclip(args: argparse.Namespace) -> int:
    from sdic.editing.catalogue import description
    from sdic.editing.directions import save_direction
    from sdic.editing.styleclip import read_styleclip
    from sdic.finding.opening import Opened

    generator = Opened.of(args.model, "cpu").generator if args.model else None
    config = None if generator is None else generator.config
    direction = read_styleclip(args.table, args.stats, args.text, args.beta, config, args.name)
    save_direction(args.out, direction)
    print(f"{description(direction, generator)['channels']} channels -> {args.out}")
    return 0


def _list(args: argparse.Namespace) -> int:
    from sdic.editing.catalogue import listing
    from sdic.editing.manifest import check_domain

    check_domain(args.domain)
    entries = listing(args.domain)
    if args.json:
        print(json.dumps(entries, indent=1))
        return 0
    rows = [("name", "domain", "kind", "usual", "range", "here", "what")]
    for entry in entries:
        limits = "-" if entry["limits"] is None else "{:g} to {:g}".format(*entry["limits"])
        here, what = "yes" if entry["ready"] else "no", entry["about"] or entry["unit"]
        rows.append((entry["name"], entry["domain"], entry["kind"], f"{entry['default']:g}", limits, here, what))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[6]]).rstrip())
    print(
        "\nEvery generator also has pc0, pc1, ... (its principal components) and s6.501 (channel 501 of style vector 6)"
    )
    return 0


def _opened(args: argparse.Namespace) -> tuple[Any, str, str | None]:
    """(generator, its fingerprint, the domain whose names are meant) of --model and --domain; None and "" without."""
    from sdic.editing.manifest import check_domain

    check_domain(args.domain)
    if not args.model:
        return None, "", args.domain
    from sdic.finding.opening import Opened

    opened = Opened.of(args.model, "cpu")
    return opened.generator, opened.identity, args.domain or opened.domain


def _show(args: argparse.Namespace) -> int:
    from sdic.editing.catalogue import description
    from sdic.editing.directions import load_direction
    from sdic.utils.text import printable

    generator, _, domain = _opened(args)
    about = description(load_direction(args.name, domain, generator), generator)
    if args.json:
        print(json.dumps(about, indent=1))
        return 0
    for key, value in about.items():
        text = ", ".join(value) if isinstance(value, list) else "unknown" if value is None else str(value)
        print(f"{key:10s} {printable(text)}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from sdic.editing.catalogue import check
    from sdic.utils.text import printable

    generator, identity, domain = _opened(args)
    found = check(args.names, domain, generator, identity)
    if args.json:
        print(json.dumps([dataclasses.asdict(entry) for entry in found], indent=1))
    for entry in () if args.json else found:
        print(f"{'wrong' if entry.problem else 'good':6s} {printable(entry.name)}  {printable(entry.problem)}".rstrip())
        for line in entry.warnings:
            print(f"       {printable(line)}")
    return 1 if any(entry.problem for entry in found) else 0


ACTIONS = {
    "find": _search,
    "channels": _search,
    "pca": _pca,
    "draw": _draw,
    "styleclip": _styleclip,
    "list": _list,
    "show": _show,
    "check": _check,
}
