"""The model of a run: its identity is known from its files alone, and it is loaded only when a photo needs it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from sdic import zoo
from sdic.editing.directions import Located
from sdic.errors import SdicError
from sdic.loading import load, weights_of_run
from sdic.methods.base import Inverter
from sdic.pictures import domain_of
from sdic.runner.edits import Edit
from sdic.runner.records import FOLDER, writing
from sdic.runner.settings import RunSettings
from sdic.types import Direction, Geometry
from sdic.utils.files import sha256_of, write_atomic
from sdic.utils.tensors import resolve_device


@dataclass(frozen=True)
class Identity:
    """name: the model's, or "file" for a file or training run. weights: sha256 of its files."""

    name: str
    weights: str


class LazyModel:
    """An inverter that is loaded at first use. Notes below OUT/.sdic spare a second run the hashing of weight files."""

    def __init__(self, settings: RunSettings, out: Path, local_rank: int | None = None):
        self.settings = settings
        self._notes = out / FOLDER / "weights.json"
        self._local_rank = local_rank
        self._inverter: Inverter | None = None
        self._lock = threading.Lock()
        self._directions: dict[Located, Direction] = {}
        self.failure: Exception | None = None
        self._check()

    @property
    def loaded(self) -> bool:
        """Whether anything has needed the model yet."""
        return self._inverter is not None

    def on_cpu(self) -> bool:
        """Whether the model is, or will be, on the CPU."""
        return resolve_device(self._device()).type == "cpu"

    @property
    def inverter(self) -> Inverter:
        """The model itself."""
        with self._lock:
            if self._inverter is None:
                precision: Any = self.settings.precision
                try:
                    with warnings.catch_warnings():
                        warnings.filterwarnings("ignore", "precision .* slow")  # the run has said so
                        self._inverter = load(self.settings.model, self._device(), precision=precision)
                    if not self.named:
                        self._note(f"domain of {self.identity.weights}", domain_of(self._inverter) or "")
                except Exception as error:
                    self.failure = error  # whichever thread met it, it ends the run
                    raise
            return self._inverter

    @property
    def named(self) -> bool:
        """Whether it is a model of the list, not a file."""
        return self.settings.model in zoo.MODELS

    @property
    def domain(self) -> str:
        """The domain whose directions are meant, "" for none; a weight file that is new here is loaded to find out."""
        if self.settings.domain:
            return self.settings.domain
        if self.named:
            return zoo.MODELS[self.settings.model].domain
        known = self._noted(f"domain of {self.identity.weights}")
        return (domain_of(self.inverter) or "") if known is None else known

    def described(self) -> dict[str, str | None]:
        """For the report: name, weights, and the domain where that is known without loading anything."""
        noted = self._noted(f"domain of {self.identity.weights}") is not None
        known = self.named or self.settings.domain or self.loaded or noted
        return {**vars(self.identity), "domain": (self.domain or None) if known else None}

    def geometry(self) -> Geometry:
        """The picture sizes of the model; any thread may ask."""
        return self.inverter.geometry

    def directions(self, edit: Edit) -> list[Direction]:
        """The directions of an edit, each loaded once; ConfigError when one belongs to another generator."""
        generator = self.inverter.generator
        for located in edit.directions:
            if located not in self._directions:
                direction = located.load(generator)
                rows = generator.config.latent_rows
                direction.shift(generator.latent_avg.expand(1, rows, -1), 1.0)
                self._directions[located] = direction
        return [self._directions[located] for located in edit.directions]

    def _check(self) -> None:
        """Complain about a model that cannot be there, before anything is written."""
        name = self.settings.model
        if self.named and zoo.MODELS[name].method is None:
            raise SdicError(f"{name!r} is a network for losses and metrics, not a model that inverts")
        if self.named:
            for wanted in zoo.MODELS[name].files:
                zoo.need_file(wanted, name)
        elif (Path(name) / "checkpoints").is_dir():
            weights_of_run(Path(name))
        elif not Path(name).is_file():
            load(name, "cpu")  # has the right words for it

    @cached_property
    def identity(self) -> Identity:
        """What the pictures depend on, from the weight files' bytes."""
        name = self.settings.model
        if self.named:
            card = zoo.MODELS[name]
            if card.seed is not None:
                return Identity(name, f"seed {card.seed}")
            files = [zoo.need_file(wanted, name) for wanted in card.files]
            return Identity(name, " + ".join(self._hash(file) for file in files))
        return Identity("file", self._hash(Path(name) if Path(name).is_file() else weights_of_run(Path(name))))

    def _hash(self, path: Path) -> str:
        found = os.stat(path)
        key = f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
        known = self._noted(key)
        if known is None:
            known = sha256_of(path)
            self._note(key, known)
        return known

    def _noted(self, key: str) -> str | None:
        with contextlib.suppress(OSError, ValueError):
            return json.loads(self._notes.read_text(encoding="utf-8")).get(key)
        return None

    def _note(self, key: str, value: str) -> None:
        notes = {}
        with contextlib.suppress(OSError, ValueError):
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
        with writing(self._notes):
            write_atomic(self._notes, json.dumps({**notes, key: value}, indent=1))

    def _device(self) -> str:
        device = self.settings.device
        if self._local_rank is not None and device in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self._local_rank % torch.cuda.device_count()}"
        return device


def warn_of_limits(edits: Sequence[Edit]) -> list[str]:
    """A line for every direction that is asked for beyond its useful range."""
    lines = []
    for edit in edits:
        for located, strength in zip(edit.directions, edit.strengths, strict=True):
            limits = located.limits
            if limits is not None and not limits[0] <= strength <= limits[1]:
                lines.append(f"{located.name}={strength:g} is outside its useful range {limits[0]:g} to {limits[1]:g}")
    return list(dict.fromkeys(lines))
