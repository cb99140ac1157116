"""Edits in style space, for every method: its own edit, with a generator whose style vectors are shifted.

No method has to know of them: all passes of an edit go through the generator's doors, and these are the doors.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from torch import Tensor, nn

from sdic.changes import Changes, Noise, Styles
from sdic.direction import Direction, StyleDirection
from sdic.editing.styles import check_styles
from sdic.errors import ConfigError
from sdic.networks.stylegan2 import UNCHANGED
from sdic.types import GeneratorState

M = TypeVar("M", bound=nn.Module)


class ShiftedSynthesis(nn.Module):
    """The doors of a synthesis, each pass with `shifts` added to its style vectors. B batch, I channels of a layer.

    original: the synthesis itself, for a pass of the picture before the edit.
    """

    def __init__(self, original: nn.Module, shifts: Styles):
        super().__init__()
        self.original: Any = original
        self.config = self.original.config
        self.shifts = shifts

    def forward(
        self,
        latent: Tensor,
        start: GeneratorState | None = None,
        noise: Noise = "fixed",
        changes: Changes | None = None,
    ) -> Tensor:
        return self.original(latent, start, changes=self._changes(noise, changes))

    def until(
        self,
        stop: int,
        latent: Tensor,
        start: GeneratorState | None = None,
        noise: Noise = "fixed",
        changes: Changes | None = None,
    ) -> GeneratorState:
        """As `Synthesis.until`."""
        return self.original.until(stop, latent, start, changes=self._changes(noise, changes))

    def rgb_below(
        self, layer: int, latent: Tensor, noise: Noise = "fixed", changes: Changes | None = None
    ) -> Tensor | None:
        """As `Synthesis.rgb_below`."""
        return self.original.rgb_below(layer, latent, changes=self._changes(noise, changes))

    def with_rgb(self, state: GeneratorState, latent: Tensor, changes: Changes = UNCHANGED) -> GeneratorState:
        """As `Synthesis.with_rgb`."""
        return self.original.with_rgb(state, latent, self._changes("fixed", changes))

    def shrunk(
        self,
        latent: Tensor,
        size: int,
        start: GeneratorState | None = None,
        noise: Noise = "fixed",
        changes: Changes | None = None,
    ) -> Tensor:
        """As `Synthesis.shrunk`."""
        return self.original.shrunk(latent, size, start, changes=self._changes(noise, changes))

    def styles(self, latent: Tensor, changes: Changes = UNCHANGED) -> Styles:
        """As `Synthesis.styles`, shifted."""
        return self.original.styles(latent, self._changes("fixed", changes))

    def _changes(self, noise: Noise, changes: Changes | None) -> Changes:
        if changes is not None and noise != "fixed":
            raise ConfigError("give the noise of a pass in its changes: Changes(noise=...), not beside them")
        changes = Changes(noise) if changes is None else changes
        return replace(changes, style_shifts=sum_of(changes.style_shifts, self.shifts))


def sum_of(first: Styles, second: Styles) -> Styles:
    """What both add to style vectors, layer by layer."""

    def total(a: Mapping[int, Tensor], b: Mapping[int, Tensor]) -> dict[int, Tensor]:
        return {layer: a[layer] + b[layer] if layer in a and layer in b else {**a, **b}[layer] for layer in {**a, **b}}

    return Styles(total(first.convs, second.convs), total(first.rgb, second.rgb))


def restyled(inverter: M, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> M:
    """The inverter as it edits by these directions, each with its strengths [B]: itself, or where some of them are
    directions of style space, a twin whose generator has them in every pass. ConfigError where one does not fit it."""
    generator: Any = inverter.generator
    shifts = Styles()
    for direction, amounts in zip(directions, strengths, strict=True):
        if isinstance(direction, StyleDirection):
            check_styles(direction, generator.config)
            shifts = sum_of(shifts, direction.shifts(amounts))
    if not (shifts.convs or shifts.rgb):
        return inverter
    shifted = _twin(generator, synthesis=ShiftedSynthesis(generator.synthesis, shifts))
    return _twin(inverter, generator=shifted)


def _twin(module: M, **parts: nn.Module) -> M:
    """The same module with other parts; the module itself keeps its own."""
    twin = cast(M, copy.copy(module))
    twin._modules = {**module._modules, **parts}
    return twin
