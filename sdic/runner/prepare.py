"""What a photo still needs, found out and read in the background while the model works on others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from sdic.errors import CheckpointError, ImageError, SdicError
from sdic.runner.edits import Edit
from sdic.runner.inputs import Item
from sdic.runner.latents import CodeItem
from sdic.runner.model import Identity
from sdic.runner.records import Record, key_of
from sdic.runner.settings import RunSettings
from sdic.types import Geometry, Inversion
from sdic.utils.files import within_limits
from sdic.utils.images import fit, to_tensor


@dataclass(frozen=True)
class Output:
    """A file to write. path: relative to OUT. key: what it depends on. edit: which, None for the inversion's own."""

    path: str
    key: str
    edit: Edit | None = None


@dataclass
class Prepared:
    """An item with its record, what it lacks, and the photo [3, H, W], inversion or code [L, D] to start from."""

    item: Item
    record: Record
    outputs: list[Output] = field(default_factory=list)
    missing: list[Output] = field(default_factory=list)
    photo: Tensor | None = None
    inversion: Inversion | None = None
    code: Tensor | None = None
    notes: list[str] = field(default_factory=list)
    problem: str | None = None
    facts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What every photo of a run is to become; `prepare` finds out how far one is.

    identities: of each edit, what its pictures depend on. geometry: gives the model's, and loads it if it must.
    """

    settings: RunSettings
    out: Path
    model: Identity
    edits: Sequence[Edit]
    identities: Sequence[Any]
    geometry: Callable[[], Geometry]

    def prepare(self, item: Item) -> Prepared:
        """Hash, compare, and read only what is missing. Never raises for what is wrong with the item."""
        prepared = Prepared(item, Record.load(self.out, item.stem), notes=list(item.notes))
        if item.problem is not None:
            prepared.problem = item.problem
            return prepared
        try:
            if not item.path.is_file():
                raise ImageError("a broken link" if item.path.is_symlink() else "not a regular file")
            digest = item.digest(self.settings.max_pixels)
            facts = {"photo": digest, "model": self.model.name, "weights": self.model.weights}
            options = {"options": json.dumps(self.settings.options, sort_keys=True)} if self.settings.options else {}
            prepared.facts = {**facts, "precision": self.settings.precision, **options}
            prepared.outputs = self._outputs(item, prepared.facts)
            prepared.missing = [o for o in prepared.outputs if not prepared.record.is_done(o.path, o.key)]
            if prepared.missing:
                self._read(prepared)
        except OSError as error:
            prepared.problem = f"cannot be read ({error.strerror or error})"
        except SdicError as error:
            prepared.problem = str(error).removeprefix(f"{item.path}: ")
        except Exception as error:  # a damaged file can surprise its reader
            prepared.problem = f"damaged ({type(error).__name__}: {error})"
        return prepared

    def _outputs(self, item: Item, facts: dict[str, str]) -> list[Output]:
        key = key_of(**facts)
        outputs = [Output(within_limits(f"inversion/{item.stem}", ".png"), key)]
        saved = within_limits(f"inversions/{item.stem}", ".safetensors")
        if self.settings.save_inversions and (self.out / saved).resolve() != item.path.resolve():
            outputs.append(Output(saved, key))
        if self.settings.save_latents:
            outputs.append(Output(within_limits(f"latents/{item.stem}", ".npy"), key))
        for edit, identity in zip(self.edits, self.identities, strict=True):
            rule = self.settings.rule or "default"  # it was "" while the default was the paper's
            edit_key = key_of(inversion=key, rule=rule, edit=identity)
            outputs.append(Output(within_limits(f"{edit.label}/{item.stem}", ".png"), edit_key, edit))
        return outputs

    def _read(self, prepared: Prepared) -> None:
        item = prepared.item
        if isinstance(item, CodeItem):
            prepared.code = item.values()
            return
        if item.is_inversion:
            prepared.inversion = Inversion.load(item.path)
            if len(prepared.inversion) != 1:
                raise CheckpointError(f"holds {len(prepared.inversion)} inversions; save them one by one")
            return
        prepared.inversion = self._saved(prepared)
        if prepared.inversion is None:
            photo, notes = fit(item.picture(self.settings.max_pixels), self.geometry())
            prepared.photo = to_tensor(photo)
            prepared.notes += notes
        else:
            prepared.notes = list(prepared.record.warnings)

    def _saved(self, prepared: Prepared) -> Inversion | None:
        """The inversion that an earlier run saved for the same photo, weights and settings."""
        path = within_limits(f"inversions/{prepared.item.stem}", ".safetensors")
        if not prepared.record.is_done(path, key_of(**prepared.facts)):
            return None
        try:
            return Inversion.load(self.out / path)
        except CheckpointError:  # it will be made again
            return None
