"""The list of known directions: `manifest.yaml` in the folders where direction files are looked for."""

from __future__ import annotations

import functools
import hashlib
import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from sdic.config import yaml_values
from sdic.direction import Kind
from sdic.domains import DOMAINS, directions_of
from sdic.errors import CheckpointError, ConfigError, UnknownNameError, did_you_mean
from sdic.utils.files import data_folders
from sdic.utils.text import one_line

ENVIRONMENT = "SDIC_EDITINGS"
REPOSITORY = Path(__file__).resolve().parent.parent.parent
INSTALLED = Path(sys.prefix) / "share" / "sdic" / "editings"
MANIFEST = "manifest.yaml"
LARGEST = 1 << 20  # bytes; larger files are refused


@dataclass(frozen=True)
class DirectionCard:
    """What `manifest.yaml` says about a direction.

    file: its name in one of the folders; "" of a direction of style space that is said by its channels.
    channels: of kind style: (style vector in StyleSpace's numbers, channel, what strength 1 adds to it), ...
    component: which one of a GANSpace file {mean, comp, std}.
    rows: (first, end) of the rows that move, end excluded; None for all.
    default: a strength that shows the effect.
    limits: the useful range.
    unit: what strength 1 means.
    about: what it changes in a picture.
    """

    name: str
    domain: str
    file: str = ""
    kind: Kind = "add"
    channels: tuple[tuple[int, int, float], ...] | None = None
    component: int | None = None
    rows: tuple[int, int] | None = None
    default: float = 1.0
    limits: tuple[float, float] | None = None
    unit: str = ""
    about: str = ""
    source: str = ""
    licence: str = ""


def search_folders() -> list[Path]:
    """Where manifests and direction files are looked for: $SDIC_EDITINGS, ./editings, the repository's editings/, and
    where `pip install` puts the latter (if it is there)."""
    usual = (Path("editings").absolute(), REPOSITORY / "editings")
    return data_folders(ENVIRONMENT, *usual, installed=INSTALLED)


def read_manifest(path: Path) -> list[DirectionCard]:
    """The cards of one manifest file; ConfigError names an entry that is wrong."""
    small = path.is_file() and path.stat().st_size <= LARGEST
    return list(_read(path, hashlib.sha256(path.read_bytes()).digest() if small else b""))


@functools.lru_cache(maxsize=16)
def _read(path: Path, content_hash: bytes) -> list[DirectionCard]:
    """`read_manifest` of a file with this content: names are looked up often, and the file is long."""
    content = yaml_values(path)
    entries = content.get("directions") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: must hold a list named 'directions'")
    shared = content.get("sources", {})
    if not isinstance(shared, dict) or not all(isinstance(source, dict) for source in shared.values()):
        raise ConfigError(f"{path}: 'sources' must hold key: value lines for each name")
    return [_card(entry, shared, f"{path}, direction {number}") for number, entry in enumerate(entries, 1)]


def known_directions(domain: str | None = None) -> dict[tuple[str, str], DirectionCard]:
    """(domain, name) -> card, of one domain or all; the first folder that has a name wins. A domain may use another's
    directions (`sdic.domains`)."""
    wanted = None if domain is None else directions_of(domain)
    cards: dict[tuple[str, str], DirectionCard] = {}
    for folder in search_folders():
        if (folder / MANIFEST).is_file():
            for card in read_manifest(folder / MANIFEST):
                cards.setdefault((card.domain, card.name), card)
    return {key: card for key, card in cards.items() if wanted in (None, key[0])}


def check_domain(name: str | None) -> None:
    """UnknownNameError for a name that is no domain, neither of `sdic.domains` nor of a manifest."""
    domains = {domain for domain, _ in known_directions()} | set(DOMAINS)
    if name and name not in domains:
        raise UnknownNameError("domain", name, domains)


def find_file(card: DirectionCard) -> Path | None:
    """The card's file in the first folder that has it, or None."""
    paths = (folder / card.file for folder in search_folders())
    return next((path for path in paths if path.is_file()), None)


def require_file(card: DirectionCard) -> Path:
    """The card's file in the first folder that has it, or a CheckpointError that says where it comes from and what to
    do."""
    path = find_file(card)
    if path is not None:
        return path
    looked = ", ".join(map(str, search_folders()))
    raise CheckpointError(
        f"direction {card.name!r} ({card.domain}) needs the file {card.file}, looked for in {looked}. It comes from "
        f"{card.source or 'an unknown place'} (licence: {card.licence or 'unknown'}). Put it into one of these "
        f"folders, or set {ENVIRONMENT} to the folder that holds it."
    )


def _card(entry: Any, shared: dict[str, Any], where: str) -> DirectionCard:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: must be key: value lines")
    where = f"{where} ({one_line(entry.get('name', 'unnamed'))})"
    origin = entry.get("from")
    if origin is not None and not (isinstance(origin, str) and origin in shared):
        raise ConfigError(f"{where}: 'from' must be one of the names in 'sources', got {one_line(origin)}")
    entry = {**({} if origin is None else shared[origin]), **entry}
    entry.pop("from", None)
    known = [field.name for field in fields(DirectionCard)]
    for key in entry:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{did_you_mean(str(key), known)}; known: {', '.join(known)}")
    entry["channels"] = _channels(entry.get("channels"), where)
    for key in ("name", "domain", *(() if entry["channels"] else ("file",))):
        if not isinstance(entry.get(key), str):
            raise ConfigError(f"{where}: needs a text for {key!r}")
    if entry["channels"] and (entry.setdefault("kind", "style") != "style" or entry.get("file") or entry.get("rows")):
        raise ConfigError(f"{where}: channels are a direction of kind style, which has no file and no rows")
    if any(mark in entry["name"] for mark in "/\\=,:"):
        raise ConfigError(f"{where}: a name must not contain / \\ = , or :")
    for key in ("rows", "limits"):
        pair = entry.get(key)
        if pair is not None and not (isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))):
            raise ConfigError(f"{where}: {key} must be a list of two numbers, got {one_line(pair)}")
        entry[key] = None if pair is None else tuple(pair)
        if pair is not None and not pair[0] < pair[1]:
            raise ConfigError(f"{where}: {key} {pair} is an empty range; the first number must be below the second")
    if entry.get("kind", "add") not in ("add", "set", "style"):
        raise ConfigError(f"{where}: kind must be add or set, or style, got {one_line(entry['kind'])}")
    if entry.get("component") is not None and not (type(entry["component"]) is int and entry["component"] >= 0):
        raise ConfigError(f"{where}: component must be a number from 0 on, got {one_line(entry['component'])}")
    if not _is_number(entry.get("default", 1.0)):
        raise ConfigError(f"{where}: default must be a number, got {one_line(entry['default'])}")
    for key in ("unit", "about", "source", "licence"):
        if not isinstance(entry.get(key, ""), str):
            raise ConfigError(f"{where}: {key} must be a text, got {one_line(entry[key])}")
    return DirectionCard(**entry)


def _channels(listed: Any, where: str) -> tuple[tuple[int, int, float], ...] | None:
    """[[6, 501], [12, 479, 3]] -> ((6, 501, 1.0), (12, 479, 3.0))."""
    if listed is None:
        return None
    found = []
    entries: list[Any] = listed if isinstance(listed, list) and listed else [None]
    for entry in entries:
        whole = isinstance(entry, list) and len(entry) in (2, 3) and all(map(_is_number, entry))
        if not whole or any(type(number) is not int or number < 0 for number in entry[:2]):
            raise ConfigError(
                f"{where}: channels must be a list of [style vector, channel] or [.., .., factor] in numbers"
            )
        found.append((entry[0], entry[1], float(entry[2] if len(entry) == 3 else 1)))
    return tuple(found)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)
