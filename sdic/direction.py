"""An edit of the code, `Direction`, or of the styles, `StyleDirection`, as names and files mean it.

Shapes: B batch, L latent rows, D style width, I input channels of a layer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from sdic.changes import Styles
from sdic.errors import CheckpointError, ConfigError
from sdic.utils.text import one_line

Kind = Literal["add", "set", "style"]


SETTINGS = ("kind", "rows", "scale", "limits", "name", "unit", "source")
"""What a file keeps of a direction beside its tensors."""


@dataclass(frozen=True)
class Direction:
    """An edit of the code: which way, which rows, and what a strength means.

    delta: [L, D], or [1, D] or [D] for the same vector in every row.
    kind: "add" moves the rows by strength * delta (InterFaceGAN). "set" moves them along delta so that the
    coordinate of
        row 0 *becomes* strength standard deviations (GANSpace), so strength 0 is not "no edit".
    rows: (first, end) of the rows that move, end excluded; None for all.
    origin, scale: only for "set": the mean [D] and the standard deviation along delta.
    limits: the useful range of strengths (low, high), for warnings and sliders; None if not known.
    unit: what strength 1 means, in words.
    source: where it comes from; of found ones "generator" is the fingerprint of the generator that they were found in.
    """

    delta: Tensor
    kind: Kind = "add"
    rows: tuple[int, int] | None = None
    origin: Tensor | None = None
    scale: float = 1.0
    limits: tuple[float, float] | None = None
    name: str = ""
    unit: str = ""
    source: dict[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in ("add", "set"):
            raise ConfigError(f"direction {self.name!r}: kind must be 'add' or 'set', got {self.kind!r}")
        delta = self.delta[None] if self.delta.ndim == 1 else self.delta
        delta = delta[0] if delta.ndim == 3 and len(delta) == 1 else delta
        if delta.ndim != 2:
            raise ConfigError(
                f"direction {self.name!r}: delta must be [L, D], [1, D] or [D], got {list(self.delta.shape)}"
            )
        if not torch.isfinite(delta).all():
            raise ConfigError(f"direction {self.name!r}: delta holds values that are not finite")
        object.__setattr__(self, "delta", delta.detach())
        if self.kind == "set":
            if self.origin is None or len(delta) != 1:
                raise ConfigError(f"direction {self.name!r}: kind 'set' needs one component [D] and its origin [D]")
            object.__setattr__(self, "origin", self.origin.detach().reshape(-1))
            if len(self.origin) != delta.shape[1] or not torch.isfinite(self.origin).all():
                raise ConfigError(f"direction {self.name!r}: its origin must be {delta.shape[1]} finite numbers")
        if not 0 < self.scale < float("inf"):
            raise ConfigError(f"direction {self.name!r}: scale must be a positive number, got {self.scale}")
        if self.rows is not None and not 0 <= self.rows[0] < self.rows[1]:
            raise ConfigError(f"direction {self.name!r}: rows must be (first, end) with first < end, got {self.rows}")
        self._check_limits()

    def _check_limits(self) -> None:
        low, high = self.limits or (0.0, 1.0)
        if not -float("inf") < low < high < float("inf"):
            raise ConfigError(f"direction {self.name!r}: its range of strengths is empty or not finite: {self.limits}")

    def shift(self, latent: Tensor, strength: float | Tensor) -> Tensor:
        """What to add to `latent` [B, L, D] for `strength` (a number or [B]): a tensor [B, L, D]."""
        batch, rows, width = latent.shape
        if self.delta.shape[1] != width or len(self.delta) not in (1, rows):
            raise ConfigError(
                f"direction {self.name!r} is {list(self.delta.shape)} and does not fit codes of {rows} rows x {width}; "
                "it belongs to another generator"
            )
        if self.rows is not None and self.rows[1] > rows:
            raise ConfigError(f"direction {self.name!r} moves rows {self.rows}, but the codes have {rows} rows")
        amount = torch.as_tensor(strength, dtype=latent.dtype, device=latent.device).expand(batch)
        delta = self.delta.to(latent)
        if self.kind == "set":
            assert self.origin is not None
            coordinate = (latent[:, 0] - self.origin.to(latent)) @ delta[0] / self.scale  # in standard deviations
            amount = (amount - coordinate) * self.scale
        shift = amount[:, None, None] * delta.expand(rows, -1)
        if self.rows is not None:
            moved = torch.zeros(rows, 1, dtype=latent.dtype, device=latent.device)
            moved[self.rows[0] : self.rows[1]] = 1
            shift = shift * moved
        return shift

    def is_identity(self, strength: float | Tensor) -> Tensor:
        """[] or [B] booleans: whether this strength leaves every code as it is, whatever the code."""
        amount = torch.as_tensor(strength)
        return torch.zeros_like(amount, dtype=torch.bool) if self.kind == "set" else amount == 0

    def to(self, device: str | torch.device) -> Direction:
        """The same direction on another device."""
        return replace(
            self, delta=self.delta.to(device), origin=None if self.origin is None else self.origin.to(device)
        )

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """(tensors, header) for a safetensors file; `from_tensors` reads them back."""
        tensors = {"delta": self.delta} if self.origin is None else {"delta": self.delta, "origin": self.origin}
        settings = {name: getattr(self, name) for name in SETTINGS}
        return tensors, {"format": "sdic.direction", "direction": json.dumps(settings)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], header: dict[str, str], path: Path | str = "") -> Direction:
        """The inverse of `to_tensors`; CheckpointError for anything else."""
        if header.get("format") != "sdic.direction":
            raise CheckpointError(f"{path}: holds no direction (format={header.get('format')!r})")
        try:
            settings = json.loads(header["direction"])
            for name, kind in (("rows", int), ("limits", float)):
                pair = settings[name]
                if pair is not None:
                    first, second = (number for number in pair if isinstance(number, (int, kind)))
                    settings[name] = (first, second)
            texts = all(isinstance(settings.get(name, ""), str) for name in ("kind", "name", "unit"))
            numbers = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
            if not texts or not isinstance(settings.get("source", {}), dict) or len(numbers) != len(tensors):
                raise ValueError("a value of the wrong type")
            if settings.get("kind") == "style":
                parts = _by_layer(tensors)
                return StyleDirection(convs=parts["convs"], rgb=parts["rgb"], **settings)
            return cls(delta=tensors["delta"], origin=tensors.get("origin"), **settings)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(f"{path}: damaged direction ({one_line(error)})") from error


@dataclass(frozen=True)
class StyleDirection(Direction):
    """An edit in the space of style vectors (StyleSpace, StyleCLIP): strength times these is added; no code moves.

    convs: layer k -> [I], for the style of convolution k.
    rgb: even layer k -> [I], for the style of the RGB output that follows it.
    ConfigError where there is nothing in it, or values that are not finite.
    """

    delta: Tensor = field(default_factory=lambda: torch.zeros(1, 0))
    kind: Kind = "style"
    convs: Mapping[int, Tensor] = field(default_factory=dict)
    rgb: Mapping[int, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        parts = [*self.convs.values(), *self.rgb.values()]
        if self.kind != "style" or self.delta.numel() or self.rows is not None or self.origin is not None:
            raise ConfigError(f"direction {self.name!r}: an edit of styles moves no rows of the code")
        if not parts or not all(part.ndim == 1 and bool(torch.isfinite(part).all()) for part in parts):
            raise ConfigError(f"direction {self.name!r}: an edit of styles is finite numbers [channels] by layer")
        self._check_limits()

    def shift(self, latent: Tensor, strength: float | Tensor) -> Tensor:
        """Nothing is added to a code."""
        return torch.zeros_like(latent)

    def shifts(self, strength: Tensor) -> Styles:
        """What to add to the style vectors for strengths [B]: [B, I] by layer."""

        def shifts(parts: Mapping[int, Tensor]) -> dict[int, Tensor]:
            return {layer: strength[:, None] * part.to(strength) for layer, part in parts.items()}

        return Styles(shifts(self.convs), shifts(self.rgb))

    def to(self, device: str | torch.device) -> StyleDirection:
        """The same direction on another device."""
        moved = [{layer: part.to(device) for layer, part in parts.items()} for parts in (self.convs, self.rgb)]
        return replace(self, convs=moved[0], rgb=moved[1])

    def to_tensors(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """As of a Direction; the tensors are called convs.LAYER and rgb.LAYER."""
        tensors = {f"convs.{layer}": part for layer, part in self.convs.items()}
        tensors |= {f"rgb.{layer}": part for layer, part in self.rgb.items()}
        return tensors, super().to_tensors()[1]


def _by_layer(tensors: Mapping[str, Tensor]) -> dict[str, dict[int, Tensor]]:
    """Tensors called convs.LAYER and rgb.LAYER -> by layer. KeyError or ValueError for other names."""
    found: dict[str, dict[int, Tensor]] = {"convs": {}, "rgb": {}}
    for name, tensor in tensors.items():
        part, _, layer = name.partition(".")
        found[part][int(layer)] = tensor
    return found
