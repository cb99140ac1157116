"""The one interface that every method shares: `invert` photos, `edit` inversions.

Shapes: B batch, H and W size of the method's input, R output size, L latent rows, D style width.
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sdic.changes import Noise
from sdic.checkpoints import kind_of
from sdic.direction import Direction
from sdic.editing.masks import checked, within
from sdic.editing.transport import carried, with_signature
from sdic.errors import ConfigError, did_you_mean
from sdic.methods import mixing
from sdic.methods.arithmetic import DTYPES, Precision, check_precision, images_at_once
from sdic.methods.options import NoOptions, carries, make_options
from sdic.methods.progress import Watch, nothing
from sdic.methods.rendering import fitted, recomputed
from sdic.methods.strengths import counted, own, paired
from sdic.methods.styles import restyled
from sdic.methods.trained import Trained
from sdic.networks.stylegan2 import Generator
from sdic.types import GeneratorState, Geometry, Inversion
from sdic.utils.tensors import fingerprint, without_gradients


class Inverter(Trained, ABC, nn.Module):
    """Frozen networks and the procedure that inverts with them.

    A subclass implements `_invert`; editing is here, `_edit`, for it to override. `invert` and `edit` run without
    gradients. On a CPU images go through one by one, which is as fast as a batch there, keeps memory flat, and makes a
    batch of N equal N singles; on a GPU `images_at_once`.

    `_invert` is the training's forward pass too: what the frozen networks make of a photo comes from `frozen_pass`,
    without a graph, and the rest is differentiable towards the networks of `trains`.
    """

    method: ClassVar[str]
    """Name in the registry."""
    networks: ClassVar[dict[str, str]]
    """The networks it computes with: role -> kind, as in `checkpoints.NETWORKS`. Each is the attribute of its role."""
    Options: ClassVar[type] = NoOptions
    """The method's own options, a dataclass: `sdic.load(NAME, option=value)`."""
    edit_options: ClassVar[tuple[str, ...]] = ()
    """Those of them that only edits depend on: `edit` takes them too, for one edit."""
    edit_variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Other ways to edit what was inverted, which evaluations measure too: name -> options."""
    gives_code: ClassVar[bool] = False
    """Whether its code alone, rendered, is its inversion: then any method that refines can go on from it."""
    refines: ClassVar[bool] = False
    """Whether it goes on from a first code, its own or another method's (`methods.refining`)."""
    looks_through: ClassVar[tuple[str, ...]] = ()
    """Networks of the domain that its own losses look through, each the attribute of its name: "perceptual"."""
    draws_with: ClassVar[str] = ""
    """What extras begin with, before a dot, that a picture cannot be drawn without: only this method can edit them."""
    generator: Generator
    mask: Tensor | None = None
    """Of the edit under way, [1, 1, R, R]."""
    interpolate = mixing.interpolate
    mix = mixing.mix

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        """networks: by role, at least those of the class. geometry: the picture sizes. options: an `Options`."""
        super().__init__()
        for role in self.networks:
            setattr(self, role, networks[role])
        for role in self.looks_through:
            setattr(self, role, networks.get(role))
        if self.generator.config.resolution != geometry.resolution:
            raise ConfigError(
                f"the generator draws {self.generator.config.resolution} px, the domain is {geometry.resolution} px"
            )
        self.geometry = self.measured = geometry  # of photos that it looks at; of outputs when methods are compared
        self.options: Any = self.Options() if options is None else options
        self.precision: Precision = "fp32"
        self.noise: Noise = "fixed"
        self.recompute = False  # in training: keep the generator's states between resolutions only
        self.name = self.method
        self.domain: str | None = None  # as the model's card or its files say; None where they do not
        self.watch: Watch = nothing  # called by what takes minutes a photo
        self._fingerprint: str | None = None

    @classmethod
    def check_edit(cls, **options: Any) -> None:
        """ConfigError for what is no option of this method's edits."""
        for name in options:
            if name not in cls.edit_options:
                raise ConfigError(
                    f"an edit by method {cls.method!r} has no option {name!r}{did_you_mean(name, cls.edit_options)}; "
                    f"it has {', '.join(cls.edit_options) or 'none'}"
                )

    def with_options(self, **options: Any) -> Inverter:
        """The same networks with other options that only edits depend on; ConfigError for any other."""
        self.check_edit(**options)
        twin = copy.copy(self)
        twin.options = make_options(self.Options, {**vars(self.options), **options}, self.method)
        return twin

    def variants(self) -> dict[str, Inverter]:
        """`edit_variants` on the same networks, without what this one is already."""
        found = {name: self.with_options(**options) for name, options in self.edit_variants.items()}
        return {name: other for name, other in found.items() if other.options != self.options}

    # What people call ------------------------------------------------------------------------------------------------

    @without_gradients
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
        photo = fitted(images.to(self.device, torch.float32), self.geometry.input_size)
        with self._autocast():
            parts = [self._invert(part) for part in self._portions(photo)]
        whole = parts[0] if len(parts) == 1 else Inversion.cat(parts)
        return replace(whole.to(torch.float32), photo=photo, method=self.name, generator=self.fingerprint)

    @without_gradients
    def edit(
        self,
        inversion: Inversion,
        direction: Direction | Sequence[Direction],
        strength: float | Tensor | Sequence[float | Tensor],
        mask: Tensor | None = None,
        **options: Any,
    ) -> Tensor:
        """Edited pictures [B', 3, R, R] in about [-1, 1] (not clamped).

        strength: a number, or one per image [B]; for one inverted photo any number: a sweep is one call.
        direction: several directions at once need one strength each, in the same order.
        mask: [H, W] of the part of a picture that shows the photo, from 0 (stays the inversion, bit for bit) to 1 (is
            edited): in the feature, where the method has one, and in the picture. `sdic.editing.masks` draws them.
        options: of the method, for this edit alone (`edit_options`).

        An edit that moves nothing (strength 0 of an "add" direction) returns the inversion itself, unless the method's
        options say that it is another picture.
        """
        method = self.with_options(**options) if options or mask is not None else self
        if mask is not None:
            method.mask = checked(mask, self.geometry)
        directions, strengths = paired(direction, strength)
        count = counted(inversion, strengths)
        inversion = own(self, inversion)
        sources = list(range(count)) if len(inversion) > 1 else [0] * count
        untouched = torch.ones(count, dtype=torch.bool)
        for item, amount in zip(directions, strengths, strict=True):
            untouched &= item.is_identity(amount).expand(count)
        untouched &= method.keeps_unmoved
        strengths = [amount.to(inversion.latent).expand(count) for amount in strengths]
        images = [inversion.image[source : source + 1] for source in sources]
        moved = [index for index in range(count) if not untouched[index]]
        size = images_at_once(self.device, self.geometry.resolution)
        with self._autocast():
            if moved and carries(method.options):
                inversion = with_signature(self.generator.synthesis, inversion, self.noise)
            for first in range(0, len(moved), size):
                chosen = moved[first : first + size]
                part = inversion[[sources[index] for index in chosen]]
                amounts = [amount[chosen] for amount in strengths]
                edited = restyled(method, directions, amounts)._edit(part, directions, amounts).float()
                for position, index in enumerate(chosen):
                    images[index] = within(method.mask, images[index], edited[position : position + 1])
        return torch.cat(images)

    @without_gradients
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
    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        """Photo [B, 3, H, W] in [-1, 1] at the method's input size -> Inversion.

        frozen: what `frozen_pass` gives for these photos, if somebody has it already.
        """

    def code_of(self, photo: Tensor) -> Tensor:
        """The code [B, L, D] of photos at the method's input size, for a method that goes on from it."""
        return self._invert(photo).latent

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
    def fits(cls, networks: Mapping[str, nn.Module]) -> bool:
        """Whether these networks, by role, can be the method's."""
        return all(role in networks and kind_of(networks[role]) == kind for role, kind in cls.networks.items())

    def header(self) -> dict[str, str]:
        """What the header of a file with its networks says: the method, and the options that they were trained with."""
        trained = {field.name for field in fields(self.Settings)}
        kept = {name: value for name, value in vars(self.options).items() if name in trained}
        return {"method": self.method, **({"options": json.dumps(kept)} if kept else {})}

    def stages(self, inversion: Inversion) -> list[Tensor]:
        """Pictures [B, 3, H, W] in [-1, 1] between a photo and its inversion, to look at while training."""
        return []

    @property
    def keeps_unmoved(self) -> bool:
        """Whether an edit that moves no code is the inversion itself."""
        return True

    def _edit(self, inversion: Inversion, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> Tensor:
        """Edited pictures [B, 3, R, R]; every direction has its strengths [B].

        Methods that edit in their own way override this; `shift` gives how the code moves. Here the code w' + shift is
        rendered, with the feature moved along where the method has one.
        """
        shift = self.shift(inversion.latent, directions, strengths)
        latent = inversion.latent + shift
        if inversion.feature is None:
            return self.generator.synthesis(latent, noise=self.noise)
        feature = within(self.mask, inversion.feature, self._edited_feature(inversion, shift))
        return self.render(latent, feature, inversion.layer)

    @staticmethod
    def shift(codes: Tensor, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> Tensor:
        """What all directions together add to codes [B, L, D]: [B, L, D]."""
        total = torch.zeros_like(codes)
        for direction, amount in zip(directions, strengths, strict=True):
            total = total + direction.shift(codes, amount)
        return total

    def _edited_feature(self, inversion: Inversion, shift: Tensor) -> Tensor:
        """F'_E = G_k(w + shift) + (F' - G_k(w)) (eq. 6); by the rule "carried" the bracket moves. shift [B, L, D]."""
        assert inversion.feature is not None
        if carries(self.options):
            return carried(self.generator.synthesis, inversion, shift, self.noise)
        start = inversion.base_latent + shift
        moved = self.generator.synthesis.until(inversion.layer, start, noise=self.noise).feature
        return inversion.feature + (moved - inversion.extras["base_feature"])

    def render(self, latent: Tensor, feature: Tensor, layer: int) -> Tensor:
        """G resumed at `layer` from a feature, every row and the RGB below it taken from `latent`: [B, 3, R, R]."""
        synthesis = self.generator.synthesis
        return self.resume(latent, GeneratorState(layer, feature, synthesis.rgb_below(layer, latent, noise=self.noise)))

    def resume(self, latent: Tensor, state: GeneratorState) -> Tensor:
        """G resumed from a state: [B, 3, R, R]; in training activations are recomputed where that was asked for."""
        synthesis = self.generator.synthesis
        last = synthesis.config.layers - 1
        while self.recompute and torch.is_grad_enabled() and state.layer < last:
            state = recomputed(synthesis, min(state.layer + 2, last), latent, state, self.noise)
        return synthesis(latent, state, noise=self.noise)

    # Housekeeping ----------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.generator.latent_avg.device

    @property
    def fingerprint(self) -> str:
        """Distinguishes generators: the sha256 of the generator's tensors."""
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
