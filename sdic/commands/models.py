"""`sdic models`: every model, which files it needs, where they are or where they come from."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `sdic models`."""
    parser.add_argument("--json", action="store_true", help="for programs")


def run(args: argparse.Namespace) -> int:
    """Print the list; a missing file is no error."""
    from sdic import zoo

    entries = [_entry(card) for card in zoo.MODELS.values()]
    if args.json:
        print(json.dumps(entries, indent=1))
        return 0
    rows = [("name", "domain", "method", "files", "size", "what it is")]
    rows += [(e["name"], e["domain"], e["method"] or "-", _state(e), _size(e), e["description"]) for e in entries]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]))
    for title, wanted in (("Files that are here", True), ("Missing files, and where they come from", False)):
        files = {file["name"]: file for e in entries for file in e["files"] if (file["path"] is not None) == wanted}
        if files:
            print(f"\n{title}:")
        for name, file in files.items():
            place = file["path"] if wanted else file["source"]
            print(f"  {name}  {place}  (licence: {file['licence']}){'' if wanted else file['how']}")
    if any(file["path"] is None for e in entries for file in e["files"]):
        print(f"\nLooked in: {', '.join(map(str, zoo.search_folders()))} (${zoo.ENVIRONMENT} adds one)")
    published = [e for e in entries if e["paper"]]
    if published:
        print("\nAs published (CelebA-HQ, Table 1 of the paper):")
        for e in published:
            print(f"  {e['name']}: " + ", ".join(f"{name} {value:g}" for name, value in e["paper"].items()))
    return 0


def _entry(card: Any) -> dict[str, Any]:
    """A card with the state of its files."""
    from sdic import zoo
    from sdic.download import fetchable

    files = []
    for wanted in card.files:
        found = zoo.find_file(wanted)
        how = f"; sdic download {card.name}" if fetchable(wanted) else "; by hand, or from elsewhere"
        known = {key: getattr(wanted, key) for key in ("name", "source", "licence", "sha256")}
        known["size"] = wanted.size if found is None else found.stat().st_size
        known["how"] = f"; {wanted.made_by}" if wanted.made_by else how
        files.append({**known, "path": None if found is None else str(found)})
    known = {key: getattr(card, key) for key in ("name", "domain", "method", "description", "paper")}
    return {**known, "ready": all(file["path"] is not None for file in files), "files": files}


def _size(entry: dict[str, Any]) -> str:
    """In MB, of all files; "?" where one is not here and its size not known."""
    sizes = [file["size"] for file in entry["files"]]
    return "-" if not sizes else f"{sum(sizes) / 1e6:.1f} MB" if all(sizes) else "?"


def _state(entry: dict[str, Any]) -> str:
    if not entry["files"]:
        return "none needed"
    return "present" if entry["ready"] else "missing"
