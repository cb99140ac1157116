"""The model of a run: its identity is known from its files alone, and it is loaded only when a photo needs it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sdic import zoo
from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.editing.directions import Located, check_fits, found_elsewhere
from sdic.editing.words import Edit
from sdic.errors import ConfigError, SdicError
from sdic.evaluation.amounts import Measurer, network_of
from sdic.faces.finding import Aligner
from sdic.feature_networks import attribute_network, files_of, missing_file, perceptual_distance
from sdic.loading import load, looked_through, model_that_refines, options_apart, weights_of_run
from sdic.methods import METHODS, Inverter, find_method
from sdic.methods.options import make_options, parse_value
from sdic.methods.progress import Watch, nothing
from sdic.pictures import domain_of, is_of_faces
from sdic.runner.records import FOLDER
from sdic.runner.settings import RunSettings
from sdic.types import Geometry
from sdic.utils.files import sha256_of, write_atomic
from sdic.utils.tensors import resolve_device


class LazyModel:
    """An inverter that is loaded at first use. Notes below OUT/.sdic, where there is an OUT, spare a second run the
    hashing of weight files. local_rank: picks one of several GPUs."""

    def __init__(self, settings: RunSettings, local_rank: int | None = None):
        self.settings, self.out = settings, Path(settings.out)
        self._local_rank = local_rank
        self._inverter: Inverter | None = None
        self._lock = threading.Lock()
        self._directions: dict[Located, Direction] = {}
        self._kind: type[Inverter] | None = None  # of what edits, where that is known without loading
        self._seen: list[str] = []  # the networks that it looks through
        self._files = self._found()
        self.failure: Exception | None = None
        self.watch: Watch = nothing

    @property
    def loaded(self) -> bool:
        """Whether the model is loaded already."""
        return self._inverter is not None

    @property
    def named(self) -> bool:
        """Whether it is a model of the list, not a file."""
        return self.settings.model in zoo.MODELS

    @property
    def composed(self) -> dict[str, Any]:
        """What is asked for beside the model: another method of it, and what goes on from its codes."""
        return {name: word for name in ("method", "refine") if (word := getattr(self.settings, name))}

    @property
    def slow(self) -> bool:
        """Whether it optimises every photo by itself: nothing is gained by groups then."""
        return self._kind is not None and bool(self._kind.looks_through)

    def on_cpu(self) -> bool:
        """Whether the model is, or will be, on the CPU."""
        return resolve_device(self._device()).type == "cpu"

    @property
    def at_once(self) -> int:
        """Photos at a time."""
        return self.settings.batch_size or (1 if self.on_cpu() else 4)

    @property
    def inverter(self) -> Inverter:
        """The model itself; any thread may ask. Where it cannot be loaded, every asking fails alike."""
        with self._lock:
            if self.failure is not None:
                raise self.failure
            if self._inverter is None:
                precision: Any = self.settings.precision
                try:
                    with warnings.catch_warnings():
                        warnings.filterwarnings("ignore", "precision .* slow")  # the run has said so
                        options: dict[str, Any] = {**self.composed, **self._options}
                        inverter = load(self.settings.model, self._device(), precision=precision, **options)
                    inverter.watch = self.watch
                    self._check_options(type(inverter))
                    self._inverter = inverter
                except Exception as error:
                    self.failure = error
                    raise
            return self._inverter

    def domain(self, loading: bool = True) -> str | None:
        """The domain whose directions are meant, "" for none. A weight file that is new here is loaded to find out;
        without `loading` None says that it is not known yet."""
        if self.settings.domain or self.named:
            return self.settings.domain or zoo.MODELS[self.settings.model].domain
        known = loading or self.loaded
        return self._noted(
            f"domain of {self.identity['weights']}", lambda: (domain_of(self.inverter) or "") if known else None
        )

    @functools.cached_property
    def aligner(self) -> Aligner | None:
        """What makes of raw photos what the model looks at; None where photos are taken as they are. ConfigError where
        faces are to be aligned for pictures that are not square."""
        asked = self.settings.aligning
        if asked.align == "never" or (asked.align == "auto" and not self._of_faces()):
            return None
        height, width = self._geometry().input_size
        if height != width:
            raise ConfigError(
                f"--align always: {self.settings.model} looks at {width}x{height} px, a face's crop is square"
            )
        return Aligner(asked)

    @property
    def blind(self) -> bool:
        """Whether raw photos are to be aligned, and nothing that finds faces is here; False while that is unknown."""
        known = self.named or self.loaded or self.settings.align != "auto"
        return known and self.aligner is not None and self.aligner.blind

    def _geometry(self) -> Geometry:
        if self.named:
            return DOMAINS[zoo.MODELS[self.settings.model].domain].geometry
        return self.inverter.geometry

    def _of_faces(self) -> bool:
        name = zoo.MODELS[self.settings.model].domain if self.named else self.settings.domain
        if name in DOMAINS:
            return DOMAINS[name].faces
        found = self._noted(
            f"faces of {self.identity['weights']}", lambda: "yes" if is_of_faces(self.inverter) else "no"
        )
        return found == "yes"

    def described(self) -> dict[str, str | None]:
        """For the report: name, weights, and the domain where that is known without loading anything."""
        name, weights = self.identity.values()
        return {"name": name, "weights": weights, "domain": self.domain(loading=False) or None}

    def directions(self, edit: Edit) -> list[Direction]:
        """The directions of an edit, each loaded once; ConfigError when one belongs to another generator."""
        generator = self.inverter.generator
        for located in edit.directions:
            if located not in self._directions:
                direction = located.load(generator)
                check_fits(direction, generator, self.domain())
                if note := found_elsewhere(direction, self.inverter.fingerprint):
                    warnings.warn(note, stacklevel=2)
                self._directions[located] = direction
        return [self._directions[located] for located in edit.directions]

    @functools.cached_property
    def _measuring(self) -> str:
        """The network that measures amounts, "" for none."""
        asked = self.settings.edits or self.settings.edit_list
        return network_of(self.domain(), self.settings.attributes) if asked else ""

    @functools.cached_property
    def measurer(self) -> Measurer | None:
        """What measures amounts, loaded at first use; None where they are strengths."""
        return Measurer(self._measuring, self.inverter.device) if self._measuring else None

    @functools.cached_property
    def measure(self) -> dict[str, str]:
        """What edits depend on besides the model where amounts are measured; {} where they are not."""
        name = self._measuring
        paths = (
            [zoo.require_file(file, name) for file in zoo.MODELS[name].files] if name in zoo.MODELS else [Path(name)]
        )
        if name and not paths[0].is_file():
            attribute_network(name)  # has the right words for it
        return {"measured": " + ".join(map(self._sha256, paths))} if name else {}

    @property
    def _words(self) -> list[str]:
        """What goes on from the model's codes, one after the other."""
        return self.settings.refine.split("+") if self.settings.refine else []

    @property
    def _options(self) -> dict[str, Any]:
        return {name: parse_value(text) for name, text in self.settings.options.items()}

    @property
    def edit_options(self) -> dict[str, Any]:
        """What of the method's options is asked for in its edits."""
        return {"rule": self.settings.rule} if self.settings.rule else {}

    def _check_options(self, kind: type[Inverter]) -> Any:
        """The method's options; ConfigError for those that it does not have, or that change nothing."""
        own = options_apart(self._options, self._words)[-1]
        options: Any = make_options(kind.Options, {**own, **self.edit_options}, kind.method)
        kind.check_edit(**self.edit_options)
        idle = [name for name in own if name in kind.edit_options]
        if idle and not (self.settings.edits or self.settings.edit_list):
            raise ConfigError(f"`sdic invert` does not edit, and takes no {idle[0]}; use: sdic edit")
        return options

    def _found(self) -> list[Path]:
        """The weight files; complains about a model that cannot be there, before anything is written."""
        name = self.settings.model
        files, kind = self._files_of(name, self.settings.method)
        domain = zoo.MODELS[name].domain if self.named else None
        for word in self._words:
            model = model_that_refines(word, domain)
            if model in METHODS and model not in zoo.MODELS:
                kind = METHODS[model]
                continue
            more, kind = self._files_of(model, "")
            files += [path for path in more if path not in files]
        self._kind = kind
        if kind is not None:
            options = self._check_options(kind)
            seen = looked_through(kind, options, DOMAINS.get(domain or "")) if self.named else {}
            files += [path for network in seen.values() for path in files_of(network)]
            self._seen = list(seen.values())
        return files

    def check_for_photos(self) -> None:
        """CheckpointError where a network is missing that only photos need."""
        for network in self._seen:
            if missing_file(network):
                perceptual_distance(network)  # has the right words for it

    def _files_of(self, name: str, method: str) -> tuple[list[Path], type[Inverter] | None]:
        """(the files of a model, its method where that is known without loading)."""
        path, kind = Path(name), find_method(method) if method else None
        if name in zoo.MODELS:
            card = zoo.MODELS[name]
            if card.method is None and kind is None:
                raise SdicError(f"{name!r} is a network for losses and metrics, not a model that inverts")
            return [zoo.require_file(wanted, name) for wanted in card.files], kind or find_method(str(card.method))
        if (path / "checkpoints").is_dir():
            return [weights_of_run(path)], kind
        if not path.is_file():
            load(name, "cpu")  # has the right words for it
        return [path], kind

    @functools.cached_property
    def identity(self) -> dict[str, str]:
        """What the pictures depend on. model: its name, or "file". weights: sha256 of its files, or its seed."""
        name = self.settings.model if self.named else "file"
        hashes = [self._sha256(path) for path in self._files]
        return {"model": name, "weights": " + ".join(hashes) or f"seed {zoo.MODELS[name].seed}"}

    def _sha256(self, path: Path) -> str:
        found = os.stat(path)
        key = f"{path.resolve()} {found.st_size} {found.st_mtime_ns}"
        return self._noted(key, functools.partial(sha256_of, path)) or ""

    def _noted(self, key: str, find: Callable[[], str | None]) -> str | None:
        """What an earlier run noted, or what `find` finds and later runs will know. Without OUT it notes nothing."""
        notes: dict[str, str] = {}
        path = Path(self.settings.out) / FOLDER / "weights.json" if self.settings.out else None
        with contextlib.suppress(OSError, ValueError, TypeError):
            notes = dict(json.loads(path.read_text(encoding="utf-8"))) if path else {}
        if key not in notes and (found := find()) is not None:
            notes[key] = found
            if path:
                with contextlib.suppress(OSError):  # it only saves time
                    write_atomic(path, json.dumps(notes, indent=1))
        return notes.get(key)

    def _device(self) -> str:
        device = self.settings.device
        if self._local_rank is not None and device in ("auto", "cuda") and torch.cuda.is_available():
            return f"cuda:{self._local_rank % torch.cuda.device_count()}"
        return device
