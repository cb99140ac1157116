"""The strengths of a run's edits: what is asked, or where a network measures the attribute, what it takes to get there.

B photos of a group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from sdic.editing.amounts import Response
from sdic.editing.directions import Located
from sdic.editing.words import Edit
from sdic.evaluation.amounts import Amount
from sdic.runner.model import LazyModel
from sdic.types import Inversion

Reached = dict[str, dict[str, Any]]
"""Name of a direction -> its `Amount`, as report.json has it."""


class Amounts:
    """Of a group of photos, whose `inversion` holds them all. missing: edit's label -> the photos that lack it. All
    amounts of a direction are measured at once for each photo, when its first edit asks."""

    def __init__(
        self, model: LazyModel, edits: Sequence[Edit], inversion: Inversion, missing: Mapping[str, Sequence[int]]
    ):
        self._model, self._inversion = model, inversion
        self._asked: dict[tuple[int, Located], set[float]] = {}
        self._responses: dict[tuple[int, Located], Response] = {}
        for edit in edits:
            for located, amount in edit.pairs:
                for index in missing.get(edit.label, ()):
                    self._asked.setdefault((index, located), set()).add(amount)

    def strengths(self, edit: Edit, photos: Sequence[int]) -> list[Tensor]:
        """For each direction of an edit its strengths [B] for these photos of the group."""
        found = []
        for (located, amount), direction in zip(edit.pairs, self._model.directions(edit), strict=True):
            measurer = self._model.measurer
            if measurer is None or not measurer.measures(direction):
                found.append(torch.tensor(amount).expand(len(photos)))
                continue
            own = []
            for index in photos:
                key = (index, located)
                if key not in self._responses:
                    asked, options = sorted(self._asked[key]), self._model.edit_options
                    self._responses[key] = measurer.response(
                        self._model.inverter, self._inversion[index], direction, asked, **options
                    )
                own.append(self._responses[key].strengths[amount][0])
            found.append(torch.tensor(own))
        return found

    def reached(self, edit: Edit, index: int, image: Tensor) -> tuple[Reached, list[str]]:
        """(what was reached, notes on what was out of reach) of an edited output [1, 3, R, R] of a photo."""
        found: Reached = {}
        notes = []
        for (located, amount), direction in zip(edit.pairs, self._model.directions(edit), strict=True):
            response, measurer = self._responses.get((index, located)), self._model.measurer
            if response is None or measurer is None:
                continue
            inverter, name = self._model.inverter, direction.name
            before = measurer.value(name, self._inversion[index].image.to(inverter.device), inverter)
            moved = float(measurer.value(name, image, inverter) - before)
            strength, missed = response.strengths[amount]
            unit = direction.unit
            found[located.name] = asdict(Amount(amount, round(strength, 4), round(moved, 4), missed, unit))
            if missed:
                notes.append(
                    f"{edit.label}: {located.name} {amount:+g} is out of reach; it moved by {moved:+.3g} {unit}"
                )
        return found, notes
