"""The records that travel between the parts of sdic: generator state, picture sizes, inversion.

Shapes: B batch, L latent rows, D style width, R output size, C/h/w channels and size of a generator feature.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.errors import CheckpointError, ConfigError
from sdic.utils.tensors import read_tensors, write_tensors
from sdic.utils.text import one_line


@dataclass(frozen=True)
class GeneratorState:
    """Where a synthesis stands after the convolution `layer`: all that is needed to go on.

    layer: index of the latent row that the convolution used (0 is the 4x4 convolution; 7 is the upsampling one at
    64x64).
    feature: [B, C, h, w], the output of that convolution.
    rgb: [B, 3, r, r], the RGB of all resolutions that were finished before, or None at layer 0. After an even layer it
    may have the feature's own size h: then the RGB of that resolution is in it already, and `feature` goes into the
    next convolution alone (see `Synthesis.with_rgb`).
    """

    layer: int
    feature: Tensor
    rgb: Tensor | None


@dataclass(frozen=True)
class Geometry:
    """How photos and pictures of a domain relate.

    resolution: output size R of the generator.
    input_size: (H, W) at which encoders, DIPN and losses look at pictures.
    crop: (top, bottom, left, right) of the output that shows the photo, or None for all of it. Cars: rows 64..448 of
    512.
    """

    resolution: int
    input_size: tuple[int, int]
    crop: tuple[int, int, int, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_size", tuple(self.input_size))
        object.__setattr__(self, "crop", None if self.crop is None else tuple(self.crop))
        top, bottom, left, right = self.crop or (0, self.resolution, 0, self.resolution)
        height, width = self.input_size
        numbers = (self.resolution, height, width, top, bottom, left, right)
        if not all(type(n) is int for n in numbers) or min(self.resolution, height, width) < 1:
            raise ConfigError(f"picture sizes must be positive whole numbers, got {self}")
        if not (0 <= top < bottom <= self.resolution and 0 <= left < right <= self.resolution):
            raise ConfigError(f"the crop must lie within the {self.resolution} px of the output, got {self}")

    def to_text(self) -> str:
        """JSON for the header of a weight file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Geometry:
        """The inverse of `to_text`; CheckpointError for anything else."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError, ConfigError) as error:
            raise CheckpointError(f"a header whose picture sizes make no sense ({error}): {text[:200]}") from error

    def visible(self, image: Tensor) -> Tensor:
        """The part of an output [B, 3, R, R] that shows the photo."""
        if self.crop is None:
            return image
        top, bottom, left, right = self.crop
        return image[:, :, top:bottom, left:right]

    def at_input_size(self, image: Tensor) -> Tensor:
        """An output [B, 3, R, R] as losses and metrics look at it: the visible part, averaged down to [B, 3, H, W]."""
        return F.adaptive_avg_pool2d(self.visible(image), self.input_size)


@dataclass(frozen=True)
class Inversion:
    """What a method found for a batch of photos; immutable. Everything an edit needs is here.

    image: [B, 3, R, R] in about [-1, 1] (not clamped), the inversion as a picture.
    latent: [B, L, D], the code w' that an edit moves.
    base_latent: [B, L, D], the initial code w (e4e's).
    feature: [B, C, h, w], the generator feature F' at `layer`, or None for methods without one.
    photo: [B, 3, h0, w0] in [-1, 1], the photo at the size the method looked at it, or None.
    layer: the layer of `feature`, -1 without one.
    method, generator: the method's name and the fingerprint of the generator that made it.
    extras: what else a method keeps, by name, batch first. Names that mean the same for every method:
        base_feature: [B, C, h, w], the generator's own feature G_k(w) at `layer`.
        initial_image: [B, 3, h0, w0], the first reconstruction as the method looked at it, clamped to [-1, 1].
        discrepancy: [B, 3, h0, w0], the discrepancy map.
        crop: [B, 11], where each image lies in its raw photo (`sdic.faces.alignment.FaceCrop.numbers`); zeros for
        photos that were not cropped.
        Names with a dot (tuned.WEIGHT, noise.LAYER) are parts of the picture that only their method can draw.
    """

    image: Tensor
    latent: Tensor
    base_latent: Tensor
    feature: Tensor | None = None
    photo: Tensor | None = None
    layer: int = -1
    method: str = ""
    generator: str = ""
    extras: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.latent.ndim != 3 or self.latent.shape != self.base_latent.shape:
            raise ValueError(
                f"latent and base_latent must both be [B, L, D], got {list(self.latent.shape)} and "
                f"{list(self.base_latent.shape)}"
            )
        for name, tensor in self.tensors():
            if len(tensor) != len(self.latent):
                raise ValueError(f"{name} holds {len(tensor)} images, latent holds {len(self.latent)}")

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of every tensor that is present; `extras` as "extras.NAME", sorted."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Tensor):
                yield entry.name, value
        for name, tensor in sorted(self.extras.items()):
            yield EXTRAS + name, tensor

    def __len__(self) -> int:
        """The number of images."""
        return len(self.latent)

    def __getitem__(self, index: int | slice | list[int] | Tensor) -> Inversion:
        """A part of the batch; an integer gives a batch of one."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):  # also what ends a `for` loop
                raise IndexError(f"image {index} of {len(self)}")
            index = [index % len(self)]
        return self._map(lambda tensor: tensor[index])

    def to(self, *args: Any, **kwargs: Any) -> Inversion:
        """Move or cast every tensor, as `Tensor.to` does."""
        return self._map(lambda tensor: tensor.to(*args, **kwargs))

    def cpu(self) -> Inversion:
        """All tensors on the CPU."""
        return self.to("cpu")

    def detach(self) -> Inversion:
        """All tensors without gradient history."""
        return self._map(lambda tensor: tensor.detach())

    def _map(self, function: Any) -> Inversion:
        return self._with({name: function(tensor) for name, tensor in self.tensors()})

    def _with(self, tensors: dict[str, Tensor]) -> Inversion:
        """The same inversion with other tensors, by the names of `tensors()`."""
        own, extras = _extras_apart(tensors)
        return replace(self, **own, extras=extras)

    @classmethod
    def cat(cls, parts: Iterable[Inversion]) -> Inversion:
        """Join batches that one method and one generator made."""
        parts = list(parts)
        if not parts:
            raise ValueError("no inversions to join")
        first = parts[0]
        for part in parts[1:]:
            for name in ("method", "generator", "layer"):
                if getattr(part, name) != getattr(first, name):
                    raise ValueError(
                        f"cannot join inversions of {name} {getattr(first, name)!r} and {getattr(part, name)!r}"
                    )
        columns = [dict(part.tensors()) for part in parts]
        for column in columns[1:]:
            if column.keys() != columns[0].keys():
                raise ValueError(f"cannot join inversions that hold {sorted(columns[0])} and {sorted(column)}")
        return first._with({name: torch.cat([column[name] for column in columns]) for name in columns[0]})

    def save(self, path: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
        """Write one safetensors file (under its final name only when complete); equal inversions give equal files.

        `metadata` is kept beside ours. Extras whose numbers half precision holds exactly take half the place.
        """
        header = {
            "format": "sdic.inversion",
            "method": self.method,
            "generator": self.generator,
            "layer": str(self.layer),
        }
        tensors = {name: _halved(tensor) if name.startswith(EXTRAS) else tensor for name, tensor in self.tensors()}
        write_tensors(path, tensors, {**header, **(metadata or {})})

    @classmethod
    def load(cls, path: str | os.PathLike[str], device: str | torch.device = "cpu") -> Inversion:
        """Read a file that `save` wrote. CheckpointError says what is wrong with any other or damaged file."""
        tensors, header = read_tensors(path, device)
        if header.get("format") != "sdic.inversion":
            raise CheckpointError(
                f"{path}: holds no inversion (its header says format={header.get('format')!r}); "
                "make one with: sdic invert PHOTOS --out DIR --save-inversions"
            )
        tensors, extras = _extras_apart(tensors)
        extras = {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in extras.items()}
        known = {entry.name for entry in fields(cls)} - {"layer", "method", "generator", "extras"}
        unknown = sorted(set(tensors) - known)
        if unknown or not {"image", "latent", "base_latent"} <= set(tensors):
            raise CheckpointError(
                f"{path}: damaged inversion, unexpected {unknown or 'nothing'}, found {sorted(tensors)}"
            )
        for name, tensor in [*tensors.items(), *extras.items()]:
            wanted = tensor.ndim if name in extras else 3 if name.endswith("latent") else 4
            number = name in extras or tensor.is_floating_point()
            if tensor.ndim != wanted or not number or not tensor.isfinite().all():
                raise CheckpointError(
                    f"{path}: damaged inversion: {name} must hold finite numbers in {wanted} dimensions, found "
                    f"{tensor.dtype} {list(tensor.shape)}"
                )
        about: dict[str, Any] = {"extras": extras}
        try:
            about |= {"layer": int(header["layer"]), "method": header["method"], "generator": header["generator"]}
            return cls(**{**tensors, **about})
        except (KeyError, ValueError) as error:
            raise CheckpointError(f"{path}: damaged inversion ({one_line(error)})") from error


EXTRAS = "extras."
FORMER_FIELDS = ("base_feature", "initial_image", "discrepancy")
"""Extras that older files hold under their bare names."""


def _halved(tensor: Tensor) -> Tensor:
    """The same numbers in half precision, where that changes none of them."""
    half = tensor.half()
    return half if tensor.dtype == torch.float32 and torch.equal(half.float(), tensor) else tensor


def _extras_apart(tensors: dict[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Tensors by the names of `Inversion.tensors()` or of an older file -> (those of its own fields, its extras)."""
    extras = {name for name in tensors if name.startswith(EXTRAS) or name in FORMER_FIELDS}
    own = {name: tensor for name, tensor in tensors.items() if name not in extras}
    return own, {name.removeprefix(EXTRAS): tensors[name] for name in tensors if name in extras}
