"""`load_direction`: a name ("age"), a file, a principal component ("pc0"), or a channel of the styles ("s6.501").

Shapes: L latent rows, D style width.
"""

from __future__ import annotations

import hashlib
import lzma
import math
import os
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from sdic.checkpoints.unpickle import load_tensors, npy_header
from sdic.direction import Direction, StyleDirection
from sdic.editing.formats import as_direction, no_direction, single
from sdic.editing.ganspace import LIMITS, SAMPLES, principal_components
from sdic.editing.manifest import DirectionCard, known_directions, require_file
from sdic.editing.styles import channel_direction, check_styles
from sdic.errors import CheckpointError, ConfigError, UnknownNameError
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.utils.files import sha256_of
from sdic.utils.tensors import read_tensors, write_tensors
from sdic.utils.text import one_line

SUFFIXES = (".pt", ".pth", ".npy", ".npz", ".safetensors")
COMPUTED = re.compile(r"pc(\d{1,9})")
CHANNEL = re.compile(r"s(\d{1,9})\.(\d{1,9})")
CHOSEN = re.compile(r"(.+)#(\d+)", re.DOTALL)
CHOOSE = "--domain NAME (in Python domain=NAME)"


def load_direction(
    name_or_path: str | os.PathLike[str],
    domain: str | None = None,
    generator: Generator | None = None,
    *,
    component: int | None = None,
    rows: tuple[int, int] | None = None,
) -> Direction:
    """A direction by its name in `editings/manifest.yaml`, from a file, or from the generator itself: "pc0", "pc1", ...
    are its principal components, "s6.501" is channel 501 of style vector 6, as StyleSpace counts them.

    domain: which domain's names are meant ("face", "car", ...); may be left out when only one has the name; "" is none,
    as for a model whose files name no domain. "pc0", "s6.501" are the generator's own in every domain.
    generator: for principal components, and for the sizes of flattened W+ and style vectors (without: of FFHQ, 1024).
    component: which one, for a GANSpace file {mean, comp, std} given by path; "file.npz#2" says the same.
    rows: (first, end) of the rows that move.

    Files: .pt and .pth (read without executing anything), .npy, .npz, .safetensors, in the formats of
    `sdic.editing.formats`. UnknownNameError lists the known names; CheckpointError says what is wrong with a file, or
    where a missing one comes from.
    """
    direction = locate(name_or_path, domain, component).load(generator)
    return direction if rows is None else replace(direction, rows=rows)


@dataclass(frozen=True)
class Located:
    """Where a direction comes from, before it is loaded: a card with its file, a file, or a component to compute."""

    name: str
    card: DirectionCard | None = None
    path: Path | None = None
    component: int | None = None
    channel: tuple[int, int] | None = None

    @property
    def default(self) -> float:
        """The strength to take when none is said."""
        return 1.0 if self.card is None else self.card.default

    @property
    def limits(self) -> tuple[float, float] | None:
        """The useful range of strengths, where it is known without loading anything."""
        if self.card is not None:
            return self.card.limits
        return LIMITS if self.component is not None and self.path is None else None

    def identity(self) -> str:
        """Distinguishes directions without loading a model; a principal component also depends on the weights."""
        if self.path is None:
            return self._settings() if self.component is None else f"principal component {self.component} of {SAMPLES}"
        text = f"{sha256_of(self.path)} component {self.component}{self._settings() if self.card is not None else ''}"
        return hashlib.sha256(text.encode()).hexdigest()

    def _settings(self) -> str:
        """What changes the picture besides a file."""
        if self.card is None:
            return f"style {self.channel}"
        settings = asdict(self.card)
        names = ("kind", "component", "rows") if self.path is not None else ("channels",)
        return str([settings[name] for name in names])

    def load(self, generator: Generator | None = None) -> Direction:
        """Read or compute it."""
        config = GeneratorConfig() if generator is None else generator.config
        if self.path is not None:
            return read_direction(self.path, self.card, self.component, config)
        if self.card is not None:
            card = self.card
            about = {"name": card.name, "limits": card.limits, "unit": card.unit, "source": {"source": card.source}}
            return channel_direction(card.channels or (), config, **about)
        if self.channel is not None:
            return channel_direction([(*self.channel, 1.0)], config, name=self.name, unit="of the style itself")
        assert self.component is not None
        if generator is None:
            raise ConfigError(f"{self.name!r} is a principal component of a generator's codes: pass generator=...")
        return principal_components(generator, self.component + 1)[self.component]


def locate(name_or_path: str | os.PathLike[str], domain: str | None = None, component: int | None = None) -> Located:
    """Find out what a name or path means; errors as `load_direction`."""
    name = str(name_or_path)
    if computed := COMPUTED.fullmatch(name):  # whatever a manifest says: another generator's component is no edit here
        return Located(name, component=int(computed.group(1)))
    if channel := CHANNEL.fullmatch(name):
        return Located(name, channel=(int(channel.group(1)), int(channel.group(2))))
    cards = {key: card for key, card in known_directions(domain).items() if key[1] == name}
    if len(cards) > 1:
        raise ConfigError(f"direction {name!r} exists for {_listed(cards)}: say which with {CHOOSE}")
    for card in cards.values():
        return Located(name, card, None if card.channels else require_file(card))
    path = Path(os.path.expanduser(name))
    if component is None and not os.path.isfile(path) and (chosen := CHOSEN.fullmatch(str(path))):
        path, component = Path(chosen.group(1)), int(chosen.group(2))
    if os.path.isfile(path):
        named = path.stem if component is None else f"{path.stem}#{component}"
        return Located(re.sub("[,=]", "_", named), path=path, component=component)
    if path.suffix in SUFFIXES:
        raise CheckpointError(f"direction file {path.absolute()}: no such file")
    if not domain and domain is not None and (cards := {k: c for k, c in known_directions().items() if k[1] == name}):
        raise ConfigError(
            f"direction {name!r} is one of {_listed(cards)}, and the model's files do not say what it draws; if it is "
            f"that, say so with {CHOOSE}"
        )
    raise UnknownNameError(f"direction{f' of domain {domain!r}' if domain else ''}", name, direction_names(domain))


def is_direction_file(name: str) -> bool:
    """Whether a file is there under this name, a component ("file.npz#2") left aside."""
    path = os.path.expanduser(name)
    return os.path.isfile(path) or os.path.isfile(CHOSEN.sub(r"\1", path))


def check_fits(direction: Direction, generator: Generator, domain: str | None = None) -> None:
    """ConfigError where a direction is not one of this generator's codes or styles; it names the domain's that are."""
    config = generator.config
    try:
        if isinstance(direction, StyleDirection):
            check_styles(direction, config)
        else:
            direction.shift(torch.zeros(1, config.latent_rows, config.style_dim), 1.0)
    except ConfigError as error:
        raise ConfigError(f"{error}. Known here: {', '.join(direction_names(domain))}") from error


def found_elsewhere(direction: Direction, fingerprint: str) -> str:
    """A warning where a direction's file says that it was found in another generator than the one of this fingerprint
    (`Inverter.fingerprint`), else ""."""
    own = direction.source.get("generator", "")
    if not own or not fingerprint or own == fingerprint:
        return ""
    return (
        f"direction {direction.name!r} was found in generator {own[:12]}, this model has {fingerprint[:12]}: it may "
        "do something else here"
    )


def _listed(cards: Mapping[tuple[str, str], DirectionCard]) -> str:
    return ", ".join(sorted(domain for domain, _ in cards))


def direction_names(domain: str | None = None) -> list[str]:
    """The names that `load_direction` knows for a domain (whether or not their files are here), and pc0, pc1, pc2."""
    return sorted({name for _, name in known_directions(domain)} | {"pc0", "pc1", "pc2"})


def read_direction(
    path: str | os.PathLike[str],
    card: DirectionCard | None = None,
    component: int | None = None,
    config: GeneratorConfig | None = None,
) -> Direction:
    """A direction file; what its card says goes before what the file says.

    config: of the generator that it is for, whose sizes split flattened vectors; of FFHQ's at 1024 px, if None.
    """
    path = Path(path)
    component = card.component if card is not None and card.component is not None else component
    if path.suffix == ".safetensors":
        direction = single(Direction.from_tensors(*read_tensors(path), path), path, component)
    else:
        direction = as_direction(read_arrays(path), path, component, config or GeneratorConfig())
    if card is None:
        return direction if direction.name else replace(direction, name=path.stem)
    if card.kind != direction.kind:
        raise ConfigError(
            f"direction {card.name!r}: the manifest says kind {card.kind!r}, but {path.name} holds one of kind "
            f"{direction.kind!r}"
        )
    known = {"rows": card.rows, "limits": card.limits, "unit": card.unit}
    known = {key: value for key, value in known.items() if value}
    source = {**direction.source, "file": card.file, "source": card.source, "licence": card.licence}
    return replace(direction, name=card.name, source=source, **known)  # type: ignore[arg-type]


def save_direction(path: str | os.PathLike[str], direction: Direction) -> None:
    """Write a direction as one .safetensors file, whole or not at all; `load_direction` reads it back."""
    if Path(path).suffix != ".safetensors":
        raise ConfigError(f"{path}: directions are written as .safetensors")
    write_tensors(path, *direction.to_tensors())


def read_arrays(path: Path) -> Any:
    """A tensor, or a dict of them."""
    if path.suffix in (".pt", ".pth"):
        return load_tensors(path)
    if path.suffix not in (".npy", ".npz"):
        raise CheckpointError(f"{path}: {no_direction(path) or 'no direction'}; one is a {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".npy":
            with open(path, "rb") as handle:
                objects = npy_header(handle)[2].hasobject
                handle.seek(0)
                return load_tensors(path) if objects else _array(handle, path.stat().st_size)
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if sum(info.file_size for info in members.values()) > LARGEST:
                raise ValueError(f"more than {LARGEST >> 20} MB of arrays")
            arrays = {}
            for name, info in members.items():
                with archive.open(info) as member:
                    arrays[name] = _array(member, info.file_size)
            return arrays
    except _OF_NUMPY as error:
        raise CheckpointError(f"{path}: not a readable numpy file of plain numbers ({one_line(error)})") from error


LARGEST = 256 << 20  # bytes in an .npz; GANSpace's take 50 MB
_OF_NUMPY = (
    *(ValueError, OSError, EOFError, KeyError, TypeError, SyntaxError, RuntimeError, NotImplementedError, MemoryError),
    *(OverflowError, struct.error, zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError),
)
"""What numpy and the zip reader raise for damaged bytes (a .npy begins with a text that numpy parses as Python)."""


def _array(handle: IO[bytes], size: int) -> Tensor:
    """An array of real numbers from a .npy of `size` bytes, as float32. An array that its header says is larger than
    the file is not read."""
    shape, fortran, dtype = npy_header(handle)
    if dtype.kind not in "fiu":
        raise ValueError(f"an array of {dtype}")
    wanted = math.prod(shape) * dtype.itemsize
    if not 0 <= wanted <= size:
        raise ValueError(f"an array of shape {shape} in {size} bytes")
    content = handle.read(wanted)
    if len(content) != wanted:
        raise ValueError("it ends in the middle")
    array = np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, which no direction may be
        return torch.from_numpy(array.astype(np.float32, order="C"))
