"""Editing against ground truth: strengths that reach what was asked, and what the edit is then worth.

Shapes: M changes of one attribute, S strengths; pictures [., 3, H, W] in [-1, 1], at the size metrics look at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdic.direction import Direction
from sdic.domains import Attribute, Changes, Truth
from sdic.editing.amounts import respond
from sdic.errors import ConfigError, UnknownNameError
from sdic.evaluation.metrics import at_input_size, measure
from sdic.evaluation.networks import MetricNetworks
from sdic.methods import Inverter
from sdic.types import Inversion

DETAIL = 0.1  # a pixel shows a detail where leaving it out changes a channel by more than this, of 2
CHANGED = 0.1  # a pixel is moved by an edit where the truth differs from the photo by more than this
EDIT_METRICS = ("l2", "lpips", "id")
Numbers = dict[str, "float | None"]


def parse_changes(words: Sequence[str], attributes: Mapping[str, Attribute]) -> Changes:
    """Words such as "yaw=5,10,20" -> changes; without words those that the attributes come with.

    UnknownNameError for an attribute that is not there, ConfigError for what is no positive number, or more than an
    attribute can be moved by.
    """
    if not words:
        return {name: attribute.changes for name, attribute in attributes.items()}
    changes: Changes = {}
    for word in words:
        name, equals, text = word.partition("=")
        if name not in attributes:
            raise UnknownNameError("attribute of the domain", name, attributes)
        if not equals or name in changes:
            raise ConfigError(f"--change {word!r}: write each attribute once, as {name}=5,10,20")
        try:
            amounts = sorted({float(part) for part in text.split(",")})
        except ValueError as error:
            raise ConfigError(f"--change {word!r}: {text!r} is no list of numbers, such as 5,10,20") from error
        most = attributes[name].most
        if not all(math.isfinite(amount) and 0 < amount <= most for amount in amounts):
            raise ConfigError(f"--change {word!r}: changes must be positive and at most {most:g}, half of the range")
        changes[name] = tuple(amounts)
    return changes


def label_of(change: float) -> str:
    """How a change is called in reports: "20", "0.5"."""
    return f"{change:g}"


@dataclass(frozen=True)
class Edited:
    """pictures [M, 3, H, W]: the edits, one for each change. numbers: change's label -> name -> number."""

    pictures: Tensor
    numbers: dict[str, Numbers]


@torch.no_grad()
def edit_and_measure(
    inverter: Inverter,
    inversion: Inversion,
    direction: Direction,
    attribute: str,
    photo: Tensor,
    truth: Truth,
    networks: MetricNetworks,
) -> Edited:
    """One inverted photo [1, 3, H, W], edited by every change of a truth, each with the strength that it takes.

    The attribute counts as moved by what the attribute network measures, from this method's own inversion: neither the
    direction's scale nor an inversion that looks older than its photo is held against an edit.
    """

    def edits(strengths: Sequence[float]) -> Tensor:
        return at_input_size(
            inverter.edit(inversion, direction, [truth.sign * value for value in strengths]), inverter.measured
        )

    def move(tried: list[float]) -> list[float]:
        pictures = torch.cat([at_input_size(inversion.image.to(photo), inverter.measured), edits(tried)])
        values = networks.attribute(attribute, pictures)
        return (truth.sign * (values[1:] - values[0])).tolist()

    response = respond(truth.changes, move)
    strengths = [response.strengths[change][0] for change in truth.changes]
    final = edits(strengths)
    found: dict[str, Any] = measure(networks.able(EDIT_METRICS), truth.pictures, final, networks)
    found["attribute_error"] = (networks.attribute(attribute, final).cpu() - truth.values.cpu()).abs().tolist()
    found["moved"] = [response.moved[change] for change in truth.changes]
    found["details_kept"] = details_kept(final, truth.pictures, truth.bare)
    found["region_l2"] = region_error(final, truth.pictures, photo)
    missed = [float(response.strengths[change][1]) for change in truth.changes]
    found |= {"strength": strengths, "out_of_reach": missed}
    rows = ({name: values[place] for name, values in found.items()} for place in range(len(truth.changes)))
    return Edited(final, dict(zip(map(label_of, truth.changes), rows, strict=True)))


def details_kept(edits: Tensor, truths: Tensor, bare: Tensor) -> list[float | None]:
    """1 - |edit - truth|^2 / |bare - truth|^2 over the pixels that show details, at least -1; None without any.

    All [M, 3, H, W]; `bare` is the truth without details. 1 is perfect, 0 is what leaving all details out scores.
    """
    detailed = (truths - bare).abs().amax(1, keepdim=True) > DETAIL
    error, worst = (((x - truths).square() * detailed).flatten(1).sum(1).tolist() for x in (edits, bare))
    return [max(-1.0, 1 - e / w) if w > 0 else None for e, w in zip(error, worst, strict=True)]


def region_error(edits: Tensor, truths: Tensor, photo: Tensor) -> list[float | None]:
    """Mean squared error over the pixels that the edit should change, [M]; None where it changes none.

    edits, truths [M, 3, H, W], photo [1, 3, H, W].
    """
    changed = (truths - photo).abs().amax(1, keepdim=True) > CHANGED
    error = ((edits - truths).square() * changed).flatten(1).sum(1).tolist()
    count = (changed.flatten(1).sum(1) * truths.shape[1]).tolist()
    return [e / n if n else None for e, n in zip(error, count, strict=True)]
