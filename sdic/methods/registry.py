"""Every method by name, and how to put it together from the networks in a bundle."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from sdic.checkpoints import Bundle
from sdic.errors import ConfigError, UnknownNameError, did_you_mean
from sdic.methods.base import Inverter
from sdic.methods.e4e import E4EInverter
from sdic.methods.sdic import SDICInverter
from sdic.networks.compensator import Compensator
from sdic.types import Geometry


def _build_e4e(networks: dict[str, Any], geometry: Geometry, options: dict[str, Any]) -> Inverter:
    return E4EInverter(networks["generator"], networks["encoder"], geometry, **options)


def _build_sdic(networks: dict[str, Any], geometry: Geometry, options: dict[str, Any]) -> Inverter:
    compensator = Compensator(networks["dipn"], networks["dicn"])
    return SDICInverter(networks["generator"], networks["encoder"], compensator, geometry, **options)


METHODS: dict[str, tuple[type[Inverter], Callable[[dict[str, Any], Geometry, dict[str, Any]], Inverter]]] = {
    "e4e": (E4EInverter, _build_e4e),
    "sdic": (SDICInverter, _build_sdic),
}
"""name -> (class, builder). A new method is a file beside this one and a line here."""


SHARED = ("device", "precision", "optimize")
"""What `sdic.load` takes for every method."""


def options_of(kind: type[Inverter]) -> list[str]:
    """The names of a method's own options: what its constructor has a default for."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return [parameter.name for parameter in parameters if parameter.default is not parameter.empty]


def build_inverter(method: str, bundle: Bundle, geometry: Geometry, **options: Any) -> Inverter:
    """A method on the networks of a bundle, frozen and in eval mode. `options` are the method's own; ConfigError for
    one that it does not have."""
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    kind, builder = METHODS[method]
    known = options_of(kind)
    for name in options:
        if name not in known:
            raise ConfigError(
                f"method {method!r} has no option {name!r}{did_you_mean(name, [*known, *SHARED])}; it has "
                f"{', '.join(known) or 'none'} (and every method {', '.join(SHARED)})"
            )
    networks = {role: bundle.need(role, f"method {method!r}") for role in kind.roles}
    inverter = builder(networks, geometry, options)
    return inverter.requires_grad_(False).eval()  # type: ignore[return-value]
