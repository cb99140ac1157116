"""Portraits without details as flat vectors of fixed length, for training a generator supervised.

The vector holds attributes, identity and scene in declaration order: a real field is mapped from its range to [-1, 1],
a colour to [-1, 1] a channel, and a choice (hair_style, clothes_style) becomes one-hot 0/1. :func:`vector_layout` tells
which places belong to which field; VECTOR_SIZE, 70, is the length.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sdic.errors import ConfigError

from .params import PortraitParams, specs_of

_SPECS = specs_of("attribute", "identity", "scene")


def vector_layout() -> dict[str, slice]:
    """Field name -> its places in the vector, in order and without gaps."""
    layout, start = {}, 0
    for spec in _SPECS:
        width = len(spec.choices) or spec.width
        layout[spec.name] = slice(start, start + width)
        start += width
    return layout


VECTOR_SIZE: int = max(places.stop for places in vector_layout().values())


def params_to_vector(params: PortraitParams) -> Tensor:
    """float32 [N, VECTOR_SIZE] in [-1, 1]; ConfigError when a portrait carries details, which have no place in it."""
    if bool(params.has_details().any()):
        raise ConfigError("portraits with details have no vector; use params.without_details()")
    parts = []
    for spec in _SPECS:
        value = getattr(params, spec.name)
        if spec.choices:
            parts.append(one_hot(value, len(spec.choices)).float())
        else:
            parts.append(((value - spec.low) / (spec.high - spec.low) * 2 - 1).view(len(params), -1))
    return torch.cat(parts, 1)


def vector_to_params(vector: Tensor) -> PortraitParams:
    """The portraits of vectors [N, VECTOR_SIZE]: values are clamped to their ranges, the largest entry chosen."""
    if vector.dim() != 2 or vector.shape[1] != VECTOR_SIZE:
        raise ConfigError(f"portrait vectors have shape [N, {VECTOR_SIZE}], not {list(vector.shape)}")
    values = {}
    for spec, places in zip(_SPECS, vector_layout().values(), strict=True):
        part = vector[:, places]
        if spec.choices:
            values[spec.name] = part.argmax(1)
        else:
            real = (part.clamp(-1, 1) + 1) / 2 * (spec.high - spec.low) + spec.low
            values[spec.name] = real.clamp(spec.low, spec.high).view(spec.shape(len(vector)))
    return PortraitParams.defaults(len(vector), vector.device, **values)
