"""The one interface that every method shares: `invert` photos, `edit` inversions.

Shapes: B batch, H and W size of the method's input, R output size, L latent rows, D style width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sdic.changes import Noise
from sdic.errors import ConfigError, SdicError
from sdic.networks.stylegan2 import Generator, Synthesis
from sdic.types import Direction, GeneratorState, Geometry, Inversion
from sdic.utils.tensors import fingerprint

Precision = Literal["fp32", "bf16", "fp16"]
Rule = Literal["paper", "released"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Inverter(ABC, nn.Module):
    """Frozen networks and the procedure that inverts with them.

    A subclass implements `_invert`; methods with a generator feature get editing from here, others may override
    `_edited_feature`. `invert` and `edit` run without gradients; on a CPU images go through one by one, which is as
    fast as a batch there, keeps memory flat, and makes a batch of N equal N singles.

    `_invert` is the training's forward pass too: what the frozen networks make of a photo comes from `frozen_pass`,
    without a graph, and the rest is differentiable towards the networks of `trains`.
    """

    method: ClassVar[str]
    """Name in the registry."""
    networks: ClassVar[dict[str, str]]
    """The networks it needs from weight files: role -> kind."""
    trains: ClassVar[tuple[str, ...]] = ()
    """The roles that `sdic train` trains; all others stay frozen. Empty: there is nothing to train."""
    stored: ClassVar[tuple[str, ...]] = ()
    """Results of `frozen_pass` that are worth a place on disk while it trains, codes first."""
    Settings: ClassVar[type]
    """What a training says about the networks of `trains`, a dataclass."""

    def __init__(self, generator: Generator, geometry: Geometry):
        super().__init__()
        if generator.config.resolution != geometry.resolution:
            raise ConfigError(
                f"the generator draws {generator.config.resolution} px, the domain is {geometry.resolution} px"
            )
        self.generator = generator
        self.geometry = geometry
        self.precision: Precision = "fp32"
        self.noise: Noise = "fixed"
        self.recompute = False  # in training: keep the generator's states between resolutions only
        self.name = self.method
        self.domain: str | None = None  # as the model's card or its files say; None where they do not
        self._fingerprint: str | None = None

    # What people call ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def invert(self, images: Tensor) -> Inversion:
        """Photos [B, 3, H', W'] in [-1, 1], RGB, aligned as the domain's photos are -> Inversion.

        Photos of another size than the method's input are brought to it by antialiased bilinear interpolation.
        """
        if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
            raise ValueError(f"images must be [B, 3, H, W] with B > 0, got {list(images.shape)}")
        if not images.is_floating_point():
            raise ValueError(
                f"images must be floating point in [-1, 1], got {images.dtype}; sdic.pictures converts uint8"
            )
        photo = images.to(self.device, torch.float32)
        if tuple(photo.shape[2:]) != self.geometry.input_size:
            photo = F.interpolate(photo, size=self.geometry.input_size, mode="bilinear", antialias=True).clamp(-1, 1)
        with self._autocast():
            parts = [self._invert(part) for part in self._portions(photo)]
        whole = parts[0] if len(parts) == 1 else Inversion.cat(parts)
        return replace(whole.to(torch.float32), photo=photo, method=self.name, generator=self.fingerprint)

    @torch.no_grad()
    def edit(
        self,
        inversion: Inversion,
        direction: Direction | Sequence[Direction],
        strength: float | Tensor | Sequence[float],
        rule: Rule = "paper",
    ) -> Tensor:
        """Edited pictures [B', 3, R, R] in about [-1, 1] (not clamped).

        strength: a number, or one per image [B]; for one inverted photo any number of strengths, so a sweep is one
        call.
        direction: several directions at once need one strength each, in the same order.
        rule: "paper" moves the feature by G_k(w + edit) - G_k(w) (eq. 6); "released" as the authors' code does, by
        G_k(w' + edit) - G_k(w).

        By the paper's rule an edit that moves nothing (strength 0 of an "add" direction) returns the inversion itself.
        """
        if rule not in ("paper", "released"):
            raise ConfigError(f"rule must be 'paper' or 'released', got {rule!r}")
        if inversion.generator and inversion.generator != self.fingerprint:
            raise SdicError(
                f"this inversion was made with generator {inversion.generator[:12]}, and {self.name} has "
                f"{self.fingerprint[:12]}; invert the photo again with this model"
            )
        directions, strengths = _paired(direction, strength)
        count = max([len(inversion), *(s.numel() for s in strengths if s.ndim > 0)])
        for amount in strengths:
            if (
                amount.ndim > 1
                or (amount.ndim == 1 and len(amount) not in (1, count))
                or len(inversion) not in (1, count)
            ):
                raise ValueError(f"{len(inversion)} inversions do not go with strengths of shape {list(amount.shape)}")
        inversion = inversion.to(self.device)
        sources = list(range(count)) if len(inversion) > 1 else [0] * count
        untouched = torch.ones(count, dtype=torch.bool)
        for item, amount in zip(directions, strengths, strict=True):
            untouched &= item.is_identity(amount).expand(count)
        if rule == "released":
            untouched[:] = False  # there, strength 0 is not the inversion
        codes = inversion.latent if len(inversion) == count else inversion.latent.expand(count, -1, -1)
        shift = torch.zeros_like(codes)
        for item, amount in zip(directions, strengths, strict=True):
            shift = shift + item.shift(codes, amount.to(codes))
        images = [inversion.image[source : source + 1] for source in sources]
        moved = [index for index in range(count) if not untouched[index]]
        size = 1 if self.device.type == "cpu" else max(1, len(moved))
        with self._autocast():
            for first in range(0, len(moved), size):
                chosen = moved[first : first + size]
                part = inversion[[sources[index] for index in chosen]]
                edited = self._edit(part, shift[chosen], rule).float()
                for position, index in enumerate(chosen):
                    images[index] = edited[position : position + 1]
        return torch.cat(images)

    # What methods implement ------------------------------------------------------------------------------------------

    @abstractmethod
    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        """Photo [B, 3, H, W] in [-1, 1] at the method's input size -> Inversion.

        frozen: what `frozen_pass` gives for these photos, if somebody has it already.
        """

    @torch.no_grad()
    def frozen_pass(self, photo: Tensor, known: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """What the frozen networks make of photos [B, 3, H, W]: tensors by name, batch first, in the photos' type,
        without a graph. known: those that need not be computed.

        On a CPU photos go through one by one: as fast as a batch there, and the same numbers whatever the batch.
        """
        parts, size = [], 1 if photo.device.type == "cpu" else len(photo)
        for first in range(0, len(photo), size):
            part = slice(first, first + size)
            parts.append(self._frozen_pass(photo[part], {name: value[part] for name, value in (known or {}).items()}))
        if len(parts) == 1:
            return {name: value.to(photo) for name, value in parts[0].items()}
        return {name: torch.cat([part[name] for part in parts]).to(photo) for name in parts[0]}

    def _frozen_pass(self, photo: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """`frozen_pass` of one portion; methods that have nothing frozen before what trains leave it at this."""
        return {}

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        """The networks of `trains` as `settings` describe them: new ones, or those that a file to start from `held`.

        ConfigError where settings, generator and file do not fit.
        """
        raise NotImplementedError(f"{cls.__name__} trains nothing")

    @classmethod
    def options_of(cls, settings: Any) -> dict[str, Any]:
        """The constructor's options that follow from a training's settings; the header of its files holds them too."""
        return {}

    def stages(self, inversion: Inversion) -> list[Tensor]:
        """Pictures [B, 3, H, W] in [-1, 1] between a photo and its inversion, to look at while training."""
        return []

    def _edit(self, inversion: Inversion, shift: Tensor, rule: Rule) -> Tensor:
        """Render the code w' + shift, shift [B, L, D], with the feature moved along: [B, 3, R, R]."""
        latent = inversion.latent + shift
        if inversion.feature is None:
            return self.generator.synthesis(latent, noise=self.noise)
        return self.render(latent, self._edited_feature(inversion, shift, rule), inversion.layer)

    def _edited_feature(self, inversion: Inversion, shift: Tensor, rule: Rule) -> Tensor:
        """F'_E: the inverted feature moved by what the edit does to the generator's own feature (eq. 6)."""
        assert inversion.feature is not None
        start = inversion.base_latent if rule == "paper" else inversion.latent
        moved = self.generator.synthesis.until(inversion.layer, start + shift, noise=self.noise).feature
        return inversion.feature + (moved - inversion.extras["base_feature"])

    def render(self, latent: Tensor, feature: Tensor, layer: int) -> Tensor:
        """G resumed at `layer` from a feature, every row and the RGB below it taken from `latent`: [B, 3, R, R]."""
        synthesis = self.generator.synthesis
        state = GeneratorState(layer, feature, synthesis.rgb_below(layer, latent, noise=self.noise))
        last = synthesis.config.layers - 1
        while self.recompute and torch.is_grad_enabled() and state.layer < last:
            state = _recomputed(synthesis, min(state.layer + 2, last), latent, state, self.noise)
        return synthesis(latent, state, noise=self.noise)

    # Housekeeping ----------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generator.latent_avg.device

    @property
    def fingerprint(self) -> str:
        """Tells generators apart: the sha256 of the generator's tensors."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.generator)
        return self._fingerprint

    def train(self, mode: bool = True) -> Inverter:
        """Inverters are frozen: they stay in eval mode whatever is asked for."""
        return super().train(False)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.precision == "fp32":
            return nullcontext()
        if self.precision not in DTYPES:
            raise ConfigError(f"precision must be fp32, bf16 or fp16, got {self.precision!r}")
        return torch.autocast(self.device.type, DTYPES[self.precision])

    def _portions(self, photo: Tensor) -> Sequence[Tensor]:
        return photo.split(1) if self.device.type == "cpu" else [photo]


def _recomputed(synthesis: Synthesis, stop: int, latent: Tensor, state: GeneratorState, noise: Noise) -> GeneratorState:
    """The state after layer `stop`, computed once more in the backward pass instead of kept for it."""

    def run(latent: Tensor, feature: Tensor, rgb: Tensor | None) -> tuple[Tensor, Tensor | None]:
        after = synthesis.until(stop, latent, GeneratorState(state.layer, feature, rgb), noise)
        return after.feature, after.rgb

    feature, rgb = checkpoint(run, latent, state.feature, state.rgb, use_reentrant=False)
    return GeneratorState(stop, feature, rgb)


def _paired(
    direction: Direction | Sequence[Direction], strength: float | Tensor | Sequence[float]
) -> tuple[list[Direction], list[Tensor]]:
    """Directions and strengths as lists of one length; a strength is a tensor [] or [B]."""
    if isinstance(direction, Direction):
        return [direction], [torch.as_tensor(strength, dtype=torch.float32).cpu()]
    amounts = list(strength) if isinstance(strength, Sequence | Tensor) else [strength]
    if len(amounts) != len(direction):
        raise ValueError(f"{len(direction)} directions need as many strengths, got {len(amounts)}")
    return list(direction), [torch.as_tensor(amount, dtype=torch.float32).cpu() for amount in amounts]
