"""Every method by name; each registers itself in its own file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from torch import nn

from sdic.checkpoints import Bundle
from sdic.errors import CheckpointError, ConfigError, UnknownNameError
from sdic.methods.base import Inverter
from sdic.methods.options import make_options
from sdic.types import Geometry

METHODS: dict[str, type[Inverter]] = {}
"""name -> class."""
Kind = TypeVar("Kind", bound=type[Inverter])


def register(kind: Kind) -> Kind:
    """Make a method known by its name: the decorator of its class."""
    taken = [role for role in kind.networks if hasattr(kind, role)]
    if taken:
        raise ConfigError(f"method {kind.method!r}: the role {taken[0]!r} is an attribute of every method already")
    METHODS[kind.method] = kind
    return kind


def find_method(name: str) -> type[Inverter]:
    """A method by its name; UnknownNameError lists the known ones."""
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    return METHODS[name]


def build_inverter(method: str, bundle: Bundle, geometry: Geometry, **options: Any) -> Inverter:
    """A method on the networks of a bundle, frozen and in eval mode. `options` are the method's own; ConfigError for
    one that it does not have."""
    kind = find_method(method)
    chosen: Any = make_options(kind.Options, options, method)
    for role in kind.networks:
        bundle.require(role, f"method {method!r}")
    return kind(bundle.networks, geometry, chosen).requires_grad_(False).eval()


def method_for(networks: Mapping[str, nn.Module], what: str) -> str:
    """The one method whose networks are just these: for files of earlier versions, whose header names none.

    CheckpointError where it is none or several.
    """
    able = [name for name, kind in METHODS.items() if kind.fits(networks)]
    able = [name for name in able if len(METHODS[name].networks) > 1] or able  # a generator alone is in every model
    exact = [name for name in able if set(METHODS[name].networks) == set(networks)]
    if len(exact) == 1:
        return exact[0]
    if able:
        raise CheckpointError(
            f"{what}: holds {', '.join(sorted(networks))} and does not say its method, which may be "
            f"{' or '.join(exact or able)}; name it: sdic.load(FILE, method=...), --method"
        )
    raise CheckpointError(
        f"{what}: holds {', '.join(sorted(networks))}, which no method can invert with; "
        + "; ".join(f"{name} needs {', '.join(kind.networks)}" for name, kind in METHODS.items())
    )
