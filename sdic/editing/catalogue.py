"""What is known of directions, as text for people and values for programs: all of a domain, one, or what is wrong."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from sdic.direction import Direction, StyleDirection
from sdic.editing.directions import check_fits, found_elsewhere, load_direction
from sdic.editing.manifest import find_file, known_directions
from sdic.editing.styles import vectors
from sdic.errors import ConfigError, SdicError
from sdic.networks.stylegan2 import Generator

MOST_CHANNELS = 10


def listing(domain: str | None = None) -> list[dict[str, Any]]:
    """Every direction of the manifests, of one domain or all: what its card says, and "path", None where its file is
    not here."""
    entries = []
    for card in known_directions(domain).values():
        path = None if card.channels else find_file(card)
        ready = path is not None or bool(card.channels)
        entries.append({**asdict(card), "path": None if path is None else str(path), "ready": ready})
    return entries


def description(direction: Direction, generator: Generator | None = None) -> dict[str, Any]:
    """What a direction is: name, kind, what it moves, unit, range, and where it comes from."""
    about: dict[str, Any] = {"name": direction.name, "kind": direction.kind, "unit": direction.unit or "unknown"}
    about["range"] = direction.limits
    if isinstance(direction, StyleDirection):
        about |= _of_styles(direction, generator)
    else:
        rows, width = direction.delta.shape
        about["shape"] = f"{rows} x {width}" if rows > 1 else f"{width}, the same in every row"
        about["rows"] = "all" if direction.rows is None else f"{direction.rows[0]} to {direction.rows[1] - 1}"
        about["length"] = round(float(direction.delta.norm(dim=1).mean()), 4)
    return {**about, **direction.source}


def _of_styles(direction: StyleDirection, generator: Generator | None) -> dict[str, Any]:
    """How many channels of how many layers, and the strongest: in StyleSpace's numbers where the generator is known."""
    numbers = {} if generator is None else {(v.part, v.layer): n for n, v in enumerate(vectors(generator.config))}
    found = []
    for part in ("convs", "rgb"):
        for layer, values in getattr(direction, part).items():
            name = f"s{numbers[part, layer]}" if (part, layer) in numbers else f"{part} {layer}"
            for channel in torch.nonzero(values)[:, 0].tolist():
                found.append((abs(float(values[channel])), f"{name}.{channel}: {float(values[channel]):.4g}"))
    found.sort(key=lambda entry: -entry[0])
    return {"channels": len(found), "strongest": [text for _, text in found[:MOST_CHANNELS]]}


@dataclass(frozen=True)
class Checked:
    """name, and what is wrong with it, "" for nothing; warnings."""

    name: str
    problem: str = ""
    warnings: tuple[str, ...] = ()


def check(
    names: list[str], domain: str | None = None, generator: Generator | None = None, fingerprint: str = ""
) -> list[Checked]:
    """Read directions by name or file, all of the domain if none are named, and try them on a generator if given."""
    found = []
    for name in names or [card.name for card in known_directions(domain).values()]:
        try:
            direction = load_direction(name, domain, generator)
            if generator is not None:
                check_fits(direction, generator, domain)
            if not isinstance(direction, StyleDirection) and not bool(direction.delta.any()):
                raise ConfigError(f"direction {name!r} is 0 everywhere")
            note = found_elsewhere(direction, fingerprint)
            unknown = "" if direction.unit else f"{name}: its file does not say what strength 1 is"
            found.append(Checked(name, warnings=tuple(filter(None, (note, unknown)))))
        except SdicError as error:
            found.append(Checked(name, str(error)))
    return found
