"""The model of a run: its identity is known from its files alone, and it is loaded only when a photo needs it."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import warnings
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


class LazyModel:
    """An inverter that is loaded at first use. Notes below OUT/.sdic, where there is an OUT, spare a second run the
    hashing of weight files. local_rank: picks one of several GPUs."""

    def __init__(self, settings: RunSettings, local_rank: int | None = None):
        self.settings = settings
        self._notes = Path(settings.out) / FOLDER / "weights.json" if settings.out else None
        self._local_rank = local_rank
        self._inverter: Inverter | None = None
        self._lock = threading.Lock()
        self._directions: dict[Located, Direction] = {}
        self._files = self._found()
        self.failure: Exception | None = None

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
                        self._note(f"domain of {self.identity['weights']}", domain_of(self._inverter) or "")
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
        known = self._noted(f"domain of {self.identity['weights']}")
        return (domain_of(self.inverter) or "") if known is None else known

    def described(self) -> dict[str, str | None]:
        """For the report: name, weights, and the domain where that is known without loading anything."""
        noted = self._noted(f"domain of {self.identity['weights']}") is not None
        known = self.named or self.settings.domain or self.loaded or noted
        name, weights = self.identity.values()
        return {"name": name, "weights": weights, "domain": (self.domain or None) if known else None}

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

    def _found(self) -> list[Path]:
        """The model's weight files; complains about a model that cannot be there, before anything is written."""
        name, path = self.settings.model, Path(self.settings.model)
        if self.named:
            if zoo.MODELS[name].method is None:
                raise SdicError(f"{name!r} is a network for losses and metrics, not a model that inverts")
            return [zoo.need_file(wanted, name) for wanted in zoo.MODELS[name].files]
        if (path / "checkpoints").is_dir():
            return [weights_of_run(path)]
        if not path.is_file():
            load(name, "cpu")  # has the right words for it
        return [path]

    @cached_property
    def identity(self) -> dict[str, str]:
        """What the pictures depend on. model: its name, or "file". weights: sha256 of its files, or its seed."""
        name = self.settings.model if self.named else "file"
        seed = zoo.MODELS[name].seed if self.named else None
        weights = " + ".join(self._hash(file) for file in self._files) if seed is None else f"seed {seed}"
        return {"model": name, "weights": weights}

    def _hash(self, path: Path) -> str:
        found = os.stat(path)
        key = f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
        known = self._noted(key)
        if known is None:
            known = sha256_of(path)
            self._note(key, known)
        return known

    def _noted(self, key: str) -> str | None:
        return self._all_notes().get(key)

    def _note(self, key: str, value: str) -> None:
        if self._notes is not None:
            with writing(self._notes):
                write_atomic(self._notes, json.dumps({**self._all_notes(), key: value}, indent=1))

    def _all_notes(self) -> dict[str, str]:
        with contextlib.suppress(OSError, ValueError):
            if self._notes is not None:
                return dict(json.loads(self._notes.read_text(encoding="utf-8")))
        return {}

    def _device(self) -> str:
        device = self.settings.device
        if self._local_rank is not None and device in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self._local_rank % torch.cuda.device_count()}"
        return device
