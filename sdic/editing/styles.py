"""The style vectors of a generator in StyleSpace's order (Wu et al. 2021), and directions in their space.

StyleSpace counts every vector, those of RGB outputs too: at 1024 px 26 of them, 9088 channels in all, in the order
conv, rgb, then for each size conv, conv, rgb. Our layers count convolutions.

Shapes: S channels of all vectors together, I of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdic.changes import Styles
from sdic.direction import StyleDirection
from sdic.errors import ConfigError
from sdic.networks.stylegan2 import GeneratorConfig


@dataclass(frozen=True)
class Vector:
    """One style vector. part: "convs" or "rgb". layer: as we count. channels: I."""

    part: str
    layer: int
    channels: int


def vectors(config: GeneratorConfig) -> list[Vector]:
    """Every style vector of a generator, in StyleSpace's order."""
    found = []
    for layer in range(config.layers):
        found.append(Vector("convs", layer, config.layer_channels(max(0, layer - 1))))
        if layer % 2 == 0:
            found.append(Vector("rgb", layer, config.layer_channels(layer)))
    return found


def sizes(config: GeneratorConfig) -> dict[int, list[Vector]]:
    """Numbers of channels that a flat vector of styles may have -> the vectors that it holds: all, those of
    convolutions, and those of convolutions up to some size of the picture (StyleCLIP's tables end at 128 px)."""
    convs = [vector for vector in vectors(config) if vector.part == "convs"]
    found = {}
    for layer in range(0, config.layers, 2):
        part = [vector for vector in convs if vector.layer <= layer]
        found[sum(vector.channels for vector in part)] = part
    return {**found, sum(vector.channels for vector in vectors(config)): vectors(config)}


def joined(styles: Styles, config: GeneratorConfig) -> Tensor:
    """All style vectors [B, I] by layer as one [B, S], in StyleSpace's order."""
    return torch.cat([getattr(styles, vector.part)[vector.layer] for vector in vectors(config)], 1)


def from_flat(flat: Tensor, held: Sequence[Vector], **about: Any) -> StyleDirection:
    """A direction from the channels of the vectors `held`, one after the other, [sum of I]; vectors of nothing but 0
    are left out. about: fields of the direction."""
    parts: dict[str, dict[int, Tensor]] = {"convs": {}, "rgb": {}}
    for vector, values in zip(held, flat.split([vector.channels for vector in held]), strict=True):
        if bool((values != 0).any()):
            parts[vector.part][vector.layer] = values.detach().float().clone()
    return StyleDirection(**{**about, **parts})


def channel_direction(
    channels: Iterable[tuple[int, int, float]], config: GeneratorConfig, **about: Any
) -> StyleDirection:
    """A direction from (vector in StyleSpace's numbers, channel, what strength 1 adds to it).

    ConfigError for a vector or channel that the generator does not have.
    """
    known = vectors(config)
    flat = [torch.zeros(vector.channels) for vector in known]
    for vector, channel, weight in channels:
        if not 0 <= vector < len(known):
            raise ConfigError(
                f"s{vector}.{channel}: a generator of {config.resolution} px has style vectors 0 to {len(known) - 1}"
            )
        if not 0 <= channel < known[vector].channels:
            raise ConfigError(
                f"s{vector}.{channel}: style vector {vector} has channels 0 to {known[vector].channels - 1}"
            )
        flat[vector][channel] += weight
    return from_flat(torch.cat(flat), known, **about)


def check_styles(direction: StyleDirection, config: GeneratorConfig) -> None:
    """ConfigError where a direction is not one of this generator's style space."""
    has = {(vector.part, vector.layer): vector.channels for vector in vectors(config)}
    for part in ("convs", "rgb"):
        for layer, values in getattr(direction, part).items():
            if has.get((part, layer)) != len(values):
                what = f"{'RGB output' if part == 'rgb' else 'convolution'} {layer}"
                there = has.get((part, layer), "no such layer")
                raise ConfigError(
                    f"direction {direction.name!r} shifts {len(values)} styles of {what}, and a generator of "
                    f"{config.resolution} px has {there}; it belongs to another generator"
                )
