"""`load_direction`: a name ("age"), a file, or a principal component ("pc0") -> a Direction.

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
from sdic.direction import Direction
from sdic.editing.ganspace import LIMITS, SAMPLES, principal_components
from sdic.editing.manifest import DirectionCard, known_directions, require_file
from sdic.errors import CheckpointError, ConfigError, UnknownNameError
from sdic.networks.stylegan2 import Generator
from sdic.utils.files import sha256_of
from sdic.utils.tensors import read_tensors, write_tensors
from sdic.utils.text import one_line

STYLE_DIM = 512
SUFFIXES = (".pt", ".pth", ".npy", ".npz", ".safetensors")
COMPUTED = re.compile(r"pc(\d+)")
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
    """A direction by its name in `editings/manifest.yaml`, from a file, or "pc0", "pc1", ... from the generator itself.

    domain: which domain's names are meant ("face", "car", ...); may be left out when only one has the name; "" is none,
    as for a model whose files name no domain. "pc0", "pc1", ... are the generator's own in every domain.
    generator: for principal components, and for the style width of flattened W+ files.
    component: which one, for a GANSpace file {mean, comp, std} given by path; "file.npz#2" says the same.
    rows: (first, end) of the rows that move.

    Files: .pt and .pth (read without executing anything), .npy, .npz, .safetensors; tensors [D], [1, D], [L, D], [1, L,
    D] or flattened [1, L*D]. Equal rows are one direction of W, which fits any number of rows. UnknownNameError lists
    the known names; CheckpointError says what is wrong with a file, or where a missing one comes from.
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

    @property
    def default(self) -> float:
        """The strength to take when none is said."""
        return 1.0 if self.card is None else self.card.default

    @property
    def limits(self) -> tuple[float, float] | None:
        """The useful range of strengths, where it is known without loading anything."""
        if self.card is not None:
            return self.card.limits
        return LIMITS if self.path is None else None

    def identity(self) -> str:
        """Distinguishes directions without loading a model; a principal component also depends on the weights."""
        if self.path is None:
            return f"principal component {self.component} of {SAMPLES}"
        text = f"{sha256_of(self.path)} component {self.component}"
        if self.card is not None:
            settings = asdict(self.card)
            text += str([settings[name] for name in ("kind", "component", "rows")])  # what changes the picture
        return hashlib.sha256(text.encode()).hexdigest()

    def load(self, generator: Generator | None = None) -> Direction:
        """Read or compute it."""
        width = STYLE_DIM if generator is None else generator.config.style_dim
        if self.path is not None:
            return read_direction(self.path, self.card, self.component, width)
        assert self.component is not None
        if generator is None:
            raise ConfigError(f"{self.name!r} is a principal component of a generator's codes: pass generator=...")
        return principal_components(generator, self.component + 1)[self.component]


def locate(name_or_path: str | os.PathLike[str], domain: str | None = None, component: int | None = None) -> Located:
    """Find out what a name or path means; errors as `load_direction`."""
    name = str(name_or_path)
    if computed := COMPUTED.fullmatch(name):  # whatever a manifest says: another generator's component is no edit here
        return Located(name, component=int(computed.group(1)))
    cards = {key: card for key, card in known_directions(domain).items() if key[1] == name}
    if len(cards) > 1:
        raise ConfigError(f"direction {name!r} exists for {_listed(cards)}: say which with {CHOOSE}")
    for card in cards.values():
        return Located(name, card, require_file(card))
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


def _listed(cards: Mapping[tuple[str, str], DirectionCard]) -> str:
    return ", ".join(sorted(domain for domain, _ in cards))


def direction_names(domain: str | None = None) -> list[str]:
    """The names that `load_direction` knows for a domain (whether or not their files are here), and pc0, pc1, pc2."""
    return sorted({name for _, name in known_directions(domain)} | {"pc0", "pc1", "pc2"})


def read_direction(
    path: str | os.PathLike[str],
    card: DirectionCard | None = None,
    component: int | None = None,
    width: int = STYLE_DIM,
) -> Direction:
    """A direction file; what its card says goes before what the file says. `width` D splits flattened W+ vectors."""
    path = Path(path)
    component = card.component if card is not None and card.component is not None else component
    if path.suffix == ".safetensors":
        direction = _single(Direction.from_tensors(*read_tensors(path), path), path, component)
    else:
        direction = _from_content(read_arrays(path), path, component, width)
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
        raise CheckpointError(f"{path}: a direction is one of {', '.join(SUFFIXES)}")
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


def _from_content(content: Any, path: Path, component: int | None, width: int) -> Direction:
    if isinstance(content, Mapping):
        for names in (("mean", "comp", "std"), ("lat_mean", "lat_comp", "lat_stdev")):  # GANSpace's two layouts
            if set(names) <= set(content):
                return _component(*(content[name] for name in names), path=path, component=component)
        tensors = [value for value in content.values() if isinstance(value, Tensor)]
        if len(tensors) != 1:
            found = one_line(", ".join(map(str, content)) or "nothing")
            raise CheckpointError(f"{path}: holds {found}, which is no direction")
        content = tensors[0]
    if not isinstance(content, Tensor):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, which is no direction")
    delta = content.detach().float()
    if (
        component is None
        and delta.ndim in (1, 2)
        and delta.numel() == delta.shape[-1]
        and delta.numel() > width
        and not delta.numel() % width
    ):
        return Direction(delta.reshape(-1, width), name=path.stem)  # flattened W+
    return _single(Direction(delta, name=path.stem), path, component)


def _single(direction: Direction, path: Path, component: int | None) -> Direction:
    """The direction of a file that holds one; the same in every row, it is one of W and fits any number of rows."""
    if component is not None:
        raise ConfigError(f"{path}: holds one direction and no components, and component {component} was asked for")
    if bool((direction.delta == direction.delta[:1]).all()):
        return replace(direction, delta=direction.delta[:1])
    return direction


def _component(mean: Tensor, comp: Tensor, std: Tensor, *, path: Path, component: int | None) -> Direction:
    """Component number `component` of a GANSpace file: mean [1, D], comp [N, 1, D], std [N]."""
    if not all(isinstance(tensor, Tensor) and tensor.numel() and tensor.ndim for tensor in (mean, comp, std)):
        raise CheckpointError(f"{path}: mean, comp and std of GANSpace components must be arrays of numbers")
    vectors = comp.detach().float().reshape(len(comp), -1)
    if component is None or not 0 <= component < len(vectors):
        asked = "none was chosen" if component is None else f"{component} was asked for"
        raise ConfigError(
            f"{path}: holds {len(vectors)} GANSpace components (0 to {len(vectors) - 1}), and {asked}; write "
            f"{path}#N (--edit {path}#2=3), or name one in a manifest.yaml"
        )
    if std.numel() < len(vectors):
        raise CheckpointError(f"{path}: holds {len(vectors)} GANSpace components, but {std.numel()} deviations")
    return Direction(
        vectors[component],
        kind="set",
        origin=mean.detach().float().reshape(-1),
        scale=float(std.reshape(-1)[component]),
        name=f"{path.stem}#{component}",
        unit="standard deviations from the mean",
    )
