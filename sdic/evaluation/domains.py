"""The domains that can be evaluated: what edits are asked for, and which networks measure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from sdic.data.portraits.params import field_spec
from sdic.errors import ConfigError, UnknownNameError

Changes = dict[str, tuple[float, ...]]
"""Attribute -> the changes that are asked for, positive and ascending, in the attribute's unit."""


@dataclass(frozen=True)
class Domain:
    """name: as in `zoo.DOMAINS`. split: of the portraits that are measured on. changes: attribute -> the changes asked
    for; an attribute's name is that of its direction, of the attribute network's output and of the portraits' field.
    units: attribute -> its unit. attributes, identity: the models that measure; the features of the first are also the
    perceptual distance. pays: the attribute of which it is told how far compensating pays.
    """

    name: str
    split: str
    changes: MappingProxyType[str, tuple[float, ...]]
    units: MappingProxyType[str, str]
    attributes: str
    identity: str
    pays: str


DOMAINS: dict[str, Domain] = {
    domain.name: domain
    for domain in (
        Domain(
            name="portraits",
            split="test",
            changes=MappingProxyType({"age": (20.0,), "yaw": (5.0, 10.0, 20.0, 30.0), "smile": (0.5,)}),
            units=MappingProxyType({"age": "years", "yaw": "degrees", "smile": "of -1 to 1"}),
            attributes="portraits-attributes",
            identity="portraits-identity",
            pays="yaw",
        ),
    )
}
"""Every domain that `sdic evaluate` knows. A domain without ground truth of edits would be measured on photos alone."""


def domain(name: str) -> Domain:
    """A domain by name; UnknownNameError lists the known ones."""
    if name not in DOMAINS:
        raise UnknownNameError("domain to evaluate", name, DOMAINS)
    return DOMAINS[name]


def parse_changes(words: Sequence[str], known: Domain) -> Changes:
    """Words such as "yaw=5,10,20" -> changes; without words the domain's own.

    UnknownNameError for an attribute that the domain lacks, ConfigError for what is no positive number, or so large
    that moving towards the middle of the attribute's range could leave it.
    """
    if not words:
        return dict(known.changes)
    changes: Changes = {}
    for word in words:
        name, equals, text = word.partition("=")
        if name not in known.changes:
            raise UnknownNameError(f"attribute of domain {known.name!r}", name, known.changes)
        if not equals or name in changes:
            raise ConfigError(f"--change {word!r}: write each attribute once, as yaw=5,10,20")
        try:
            amounts = sorted({float(part) for part in text.split(",")})
        except ValueError as error:
            raise ConfigError(f"--change {word!r}: {text!r} is no list of numbers, such as 5,10,20") from error
        most = reach(name)
        if not all(math.isfinite(amount) and 0 < amount <= most for amount in amounts):
            raise ConfigError(f"--change {word!r}: changes must be positive and at most {most:g}, half of the range")
        changes[name] = tuple(amounts)
    return changes


def reach(attribute: str) -> float:
    """The largest change that stays within an attribute's range from wherever it starts, towards the middle."""
    spec = field_spec(attribute)
    return (spec.high - spec.low) / 2


def label_of(change: float) -> str:
    """How a change is called in reports: "20", "0.5"."""
    return f"{change:g}"
