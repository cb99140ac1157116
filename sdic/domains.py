"""The domains: one entry says a domain's picture sizes, its directions, what measures it, and what draws it.

Shapes: N pictures; M changes of an attribute, ascending; H and W size of the pictures, which are in [-1, 1].
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from sdic.errors import ConfigError, UnknownNameError
from sdic.types import Geometry

Changes = dict[str, tuple[float, ...]]
"""Attribute -> the changes that are asked for, positive and ascending, in the attribute's unit."""


@dataclass(frozen=True)
class Domain:
    """What the pictures of a domain show, and what is known of them.

    name: as in models' cards and files. geometry: of its models that do not say their own.
    directions: whose directions in `editings/manifest.yaml` fit; "" for those under the domain's own name.
    perceptual: "pretrained" (LPIPS), or a model or file whose features measure distance. identity: a model or file
    that embeds pictures. attributes: a model or file that measures attributes. Each may be "": there is none.
    truth: "MODULE:CLASS" of a `TruthSource`; "" where the truth of edits is not known.
    samples, tasks, build: modules, or "" for none: what draws pictures to train on (its `open_samples` is called as
    `data.samples.open_samples` is), what registers further tasks, what trains everything in order (its `Plan`, `build`
    and `ORDER`). All of them are imported when they are used.
    faces: whether its photos are crops of faces as FFHQ has them, which raw photos become by being aligned.
    """

    name: str
    geometry: Geometry
    directions: str = ""
    perceptual: str = "pretrained"
    identity: str = "moco"
    attributes: str = ""
    truth: str = ""
    samples: str = ""
    tasks: str = ""
    build: str = ""
    faces: bool = False

    def truth_source(self) -> type[TruthSource] | None:
        """The class that draws pictures of this domain with the truth of their edits, or None."""
        if not self.truth:
            return None
        module, _, name = self.truth.partition(":")
        found: type[TruthSource] = getattr(importlib.import_module(module), name)
        return found


DOMAINS: dict[str, Domain] = {
    entry.name: entry
    for entry in (
        Domain("face", Geometry(1024, (256, 256)), faces=True, identity="curricularface"),
        Domain("car", Geometry(512, (192, 256), (64, 448, 0, 512))),
        Domain("tiny", Geometry(64, (64, 64))),
        Domain(
            "portraits",
            Geometry(64, (64, 64)),
            perceptual="portraits-attributes",
            identity="portraits-identity",
            attributes="portraits-attributes",
            truth="sdic.portraits.truth:Portraits",
            samples="sdic.portraits.samples",
            tasks="sdic.portraits.tasks",
            build="sdic.portraits.build",
        ),
    )
}
"""Every domain by name."""


def register(entry: Domain) -> Domain:
    """Add a domain; ConfigError where the name is taken."""
    if entry.name in DOMAINS:
        raise ConfigError(f"there is a domain {entry.name!r} already; choose another name")
    DOMAINS[entry.name] = entry
    return entry


def domain(name: str) -> Domain:
    """A domain by name; UnknownNameError lists the known ones."""
    if name not in DOMAINS:
        raise UnknownNameError("domain", name, DOMAINS)
    return DOMAINS[name]


def modules(part: str) -> dict[str, str]:
    """Domain -> its module "samples", "tasks" or "build", of the domains that have one."""
    return {name: module for name, entry in DOMAINS.items() if (module := getattr(entry, part))}


def directions_of(name: str) -> str:
    """The name in manifests under which the directions of a domain stand; files may name domains of their own."""
    return DOMAINS[name].directions or name if name in DOMAINS else name


# Pictures that are measured on, and the truth of their edits ---------------------------------------------------------


@dataclass(frozen=True)
class Attribute:
    """unit: in words. changes: asked for where no others are. most: the largest that may be asked for: it stays within
    the attribute's range from wherever a picture is, in the direction that the truth takes."""

    unit: str
    changes: tuple[float, ...]
    most: float


@dataclass(frozen=True)
class Truth:
    """An attribute moved, all else equal. changes [M]: how far. sign: 1 or -1, which way. values [M]: where to.
    pictures [M, 3, H, W]: as they then are; bare [M, 3, H, W]: the same without details."""

    changes: tuple[float, ...]
    sign: int
    values: Tensor
    pictures: Tensor
    bare: Tensor


@dataclass(frozen=True)
class Picture:
    """One picture. key: tells it from others. photo [1, 3, H, W]. truths: by attribute, where they are asked for.
    large: the photo at a larger size, for methods that look at it so."""

    key: str
    photo: Tensor
    truths: dict[str, Truth] = field(default_factory=dict)
    large: Tensor | None = None


class Pictures(Protocol):
    """identity: which pictures these are, apart from how many. keys: theirs, in order; of photos those read so far.
    problems: what could not be read, and why."""

    identity: dict[str, Any]
    keys: list[str]
    problems: list[str]

    def __len__(self) -> int:
        """How many there are, unreadable ones included."""

    def read(self, wanted: Callable[[str], bool], edited: Callable[[str], bool]) -> Iterator[Picture]:
        """Those whose key is wanted, in order, each with its truths if it is to be edited. All values are of the 256 of
        a picture file (`sdic.utils.images.in_levels`)."""


class TruthSource(Pictures, Protocol):
    """The first `count` pictures of a domain, at the input size of `geometry`, with the truths of `changes`.

    attributes: name -> what can be asked for; the name is also that of the direction and of the attribute network's
    output. None of the pictures was trained on.
    """

    attributes: ClassVar[Mapping[str, Attribute]]

    def __init__(self, count: int, geometry: Geometry, changes: Changes, device: torch.device): ...

    def showcase(self, among: int, count: int) -> Sequence[str]:
        """Keys of `count` of the first `among` pictures that differ most."""

    @staticmethod
    def without_details(first: int, count: int, geometry: Geometry, device: torch.device) -> Tensor:
        """Pictures number `first`, `first` + 1, ... as a perfect generator of the domain draws them: [N, 3, H, W]."""
