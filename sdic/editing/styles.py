"""The style vectors of a generator in StyleSpace's order (Wu et al. 2021), and directions in their space.

StyleSpace counts every vector, those of RGB outputs too: at 1024 px 26 of them, 9088 channels in all, in the order
conv, rgb, then for each size conv, conv, rgb. Our layers count convolutions.

Shapes: S channels of all vectors together, I of one; E width of an embedding, C channels that a table knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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


def styleclip_direction(
    table: Tensor, deviations: Mapping[int, Tensor], text: Tensor, beta: float, config: GeneratorConfig, **about: Any
) -> StyleDirection:
    """StyleCLIP's global direction (Patashnik et al. 2021, section 6) of a difference of two texts.

    table: [C, E], fs3.npy or delta_i_c.npy: for each channel the unit direction in CLIP's space that it causes.
    deviations: number of a style vector -> [I], the standard deviations of its channels, S_mean_std's second half.
    text: [E], the embedding of the target less that of the neutral text. beta: channels of less relevance stay.
    ConfigError where these do not fit each other or the generator, and where no channel is as relevant as beta.
    """
    held = sizes(config).get(len(table))
    if table.ndim != 2 or text.numel() != table.shape[1] or held is None:
        raise ConfigError(
            f"a table of channels is [C, E] with C one of {', '.join(map(str, sizes(config)))} for a generator of "
            f"{config.resolution} px, and the text's difference [E]; these are {list(table.shape)} and "
            f"{list(text.shape)}"
        )
    if not (torch.isfinite(table).all() and torch.isfinite(text).all() and text.norm() > 0):
        raise ConfigError("the table and the text's difference must be finite numbers, and the difference not 0")
    order = vectors(config)
    spread = torch.cat([deviations[order.index(vector)].flatten().float() for vector in held])
    if len(spread) != len(table) or not torch.isfinite(spread).all():
        raise ConfigError(f"{len(spread)} standard deviations, where the table has {len(table)} channels")
    relevance = table.float() @ (text.flatten().float() / text.norm())
    kept = torch.where(relevance.abs() < beta, 0.0, relevance)
    if not bool(kept.any()):
        raise ConfigError(
            f"no channel is as relevant to the text as beta {beta:g}; the most relevant has {relevance.abs().max():.3f}"
        )
    return from_flat(kept / kept.abs().max() * spread, held, **about)
