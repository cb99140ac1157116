"""The one interface that every method shares: `invert` photos, `edit` inversions.

Shapes: B batch, H and W size of the method's input, R output size, L latent rows, D style width.
"""

from __future__ import annotations

import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import wraps
from typing import Any, ClassVar, Literal, ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import ConfigError, SdicError, did_you_mean
from sdic.networks.stylegan2 import Generator, Noise
from sdic.types import Direction, GeneratorState, Geometry, Inversion
from sdic.utils.tensors import fingerprint

P = ParamSpec("P")
T = TypeVar("T")
Precision = Literal["fp32", "bf16", "fp16"]
Rule = Literal["paper", "released"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


LARGEST, AT_ONCE = 1024, 8
"""So many pictures of so many pixels squared go through a GPU at a time, and smaller ones in proportion."""


def check_precision(precision: str) -> None:
    """ConfigError for an arithmetic that is none of the three."""
    if precision not in ("fp32", *DTYPES):
        known = ("fp32", *DTYPES)
        raise ConfigError(
            f"precision must be one of {', '.join(known)}, got {precision!r}{did_you_mean(str(precision), known)}"
        )


def slow_on_cpu(precision: str) -> str:
    """What to say of an arithmetic that is slower than fp32 on this machine's CPU; "" where it is not known to be.

    Measured on an AMD EPYC with AVX512-BF16, one thread, portraits and tiny at 64 px, time beside fp32: bf16 takes 1.5
    to 1.8 for e4e, 1.3 for the generator, 1.3 to 1.5 for an edit (a whole inversion .9, thanks to DIPN's volumes); fp16
    takes 3 for e4e, 8 for an edit and 50 for an inversion. Matrix units (AMX) may turn this round.
    """
    if precision == "fp32" or platform.machine().lower() not in ("x86_64", "amd64"):
        return ""
    units = {"bf16": "_is_amx_tile_supported", "fp16": "_is_amx_fp16_supported"}[precision]
    if getattr(torch.cpu, units, lambda: False)():
        return ""
    factor = {"bf16": "up to twice as", "fp16": "many times as"}[precision]
    return f"precision {precision} is {factor} slow as fp32 on this CPU, and less exact; use fp32"


def images_at_once(device: torch.device, resolution: int) -> int:
    """How many images go through the networks at a time, so that memory does not grow with the length of a sweep."""
    return 1 if device.type == "cpu" else max(1, AT_ONCE * LARGEST**2 // resolution**2)


def _without_gradients(function: Callable[P, T]) -> Callable[P, T]:
    """Neither gradients nor inference mode, whose tensors would stay in the generator's caches and spoil a later use
    with gradients."""

    @wraps(function)
    def wrapped(*arguments: P.args, **options: P.kwargs) -> T:
        with torch.inference_mode(False), torch.no_grad():
            return function(*arguments, **options)

    return wrapped


class Inverter(ABC, nn.Module):
    """Frozen networks and the procedure that inverts with them.

    A subclass implements `_invert`; methods with a generator feature get editing from here, others may override
    `_edited_feature`. Everything runs without gradients. On a CPU images go through one by one, which is as fast as a
    batch there, keeps memory flat, and makes a batch of N equal N singles; on a GPU `images_at_once`.
    """

    method: ClassVar[str]
    """Name in the registry."""
    roles: ClassVar[tuple[str, ...]]
    """The networks it needs from weight files, by role."""
    edit_variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Other ways to edit what was inverted, which evaluations measure too: name -> options and their values."""

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
        self.name = self.method
        self.domain: str | None = None  # as the model's card or its files say; None where they do not
        self._fingerprint: str | None = None

    # What people call ------------------------------------------------------------------------------------------------

    @_without_gradients
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

    @_without_gradients
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
        size = images_at_once(self.device, self.geometry.resolution)
        with self._autocast():
            for first in range(0, len(moved), size):
                chosen = moved[first : first + size]
                part = inversion[[sources[index] for index in chosen]]
                edited = self._edit(part, shift[chosen], rule).float()
                for position, index in enumerate(chosen):
                    images[index] = edited[position : position + 1]
        return torch.cat(images)

    @_without_gradients
    def from_latent(self, latent: Tensor) -> Inversion:
        """Codes [B, L, D] of this generator, or [B, 1, D] for the same code in every row -> an Inversion to edit.

        Its picture is G(latent): a code alone has no feature and no photo. ConfigError for codes of another shape.
        """
        rows, width = self.generator.config.latent_rows, self.generator.config.style_dim
        if latent.ndim != 3 or latent.shape[1] not in (1, rows) or latent.shape[2] != width or not len(latent):
            raise ConfigError(
                f"codes of {self.name} are {rows} rows x {width}, these are {list(latent.shape[1:])}; they belong to "
                "another generator"
            )
        latent = latent.to(self.device, torch.float32).expand(-1, rows, -1)
        with self._autocast():
            images = [self.generator.synthesis(part, noise=self.noise) for part in self._portions(latent)]
        image = torch.cat(images).float()
        return Inversion(image, latent, latent, method=self.name, generator=self.fingerprint)

    # What methods implement ------------------------------------------------------------------------------------------

    @abstractmethod
    def _invert(self, photo: Tensor) -> Inversion:
        """Photo [B, 3, H, W] in [-1, 1] at the method's input size -> Inversion."""

    def _edit(self, inversion: Inversion, shift: Tensor, rule: Rule) -> Tensor:
        """Render the code w' + shift, shift [B, L, D], with the feature moved along: [B, 3, R, R]."""
        latent = inversion.latent + shift
        if inversion.feature is None:
            return self.generator.synthesis(latent, noise=self.noise)
        return self.render(latent, self._edited_feature(inversion, shift, rule), inversion.layer)

    def _edited_feature(self, inversion: Inversion, shift: Tensor, rule: Rule) -> Tensor:
        """F'_E: the inverted feature moved by what the edit does to the generator's own feature (eq. 6)."""
        assert inversion.feature is not None
        assert inversion.base_feature is not None
        start = inversion.base_latent if rule == "paper" else inversion.latent
        moved = self.generator.synthesis.until(inversion.layer, start + shift, noise=self.noise).feature
        return inversion.feature + (moved - inversion.base_feature)

    def render(self, latent: Tensor, feature: Tensor, layer: int) -> Tensor:
        """G resumed at `layer` from a feature, every row and the RGB below it taken from `latent`: [B, 3, R, R]."""
        synthesis = self.generator.synthesis
        state = GeneratorState(layer, feature, synthesis.rgb_below(layer, latent, noise=self.noise))
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
        check_precision(self.precision)
        return torch.autocast(self.device.type, DTYPES[self.precision])

    def _portions(self, batch: Tensor) -> Sequence[Tensor]:
        return batch.split(images_at_once(self.device, self.geometry.resolution))


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
