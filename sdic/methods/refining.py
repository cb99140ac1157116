"""Methods that go on from a first code: their own, or that of any method whose inversions are codes.

Shapes: B batch, H and W the method's input size, L latent rows, D style width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.methods.base import Inverter
from sdic.methods.rendering import fitted
from sdic.types import Geometry


class Refiner(Inverter):
    """A method that asks for `first_code(photo)`, and does not know where that comes from.

    By itself it is its own encoder's (`_own_code`). With `start_from` it is another method's, and the networks that
    find the own one rest.
    """

    refines: ClassVar[bool] = True

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        super().__init__(networks, geometry, options)
        self.starter: Inverter | None = None

    def start_from(self, starter: Inverter) -> None:
        """Take the first codes of `starter`, and its generator, which must be the same one.

        ConfigError where the other method is no code alone, or has another generator.
        """
        if not starter.gives_code:
            raise ConfigError(
                f"{starter.name} (method {starter.method!r}) is more than its code, so no other method can go on from "
                "it; begin with one that gives a code: an encoder, or an optimisation of the code"
            )
        if starter.fingerprint != self.fingerprint:
            raise ConfigError(
                f"{self.name} has the generator {self.fingerprint[:12]}, and {starter.name} has "
                f"{starter.fingerprint[:12]}: codes of one mean nothing to the other; take models of one generator"
            )
        self.generator = starter.generator
        self.starter = starter

    def first_code(self, photo: Tensor) -> Tensor:
        """The code w [B, L, D] to go on from, for photos [B, 3, H, W]."""
        if self.starter is None:
            return self._own_code(photo)
        self.starter.noise, self.starter.watch = self.noise, self.watch
        return self.starter.code_of(fitted(photo, self.starter.geometry.input_size))

    def _own_code(self, photo: Tensor) -> Tensor:
        """The first code of the method by itself."""
        encoder: Any = self.encoder
        return encoder(photo)
