"""Reading `.pt`, `.pth` and `.pkl` files without executing what is in them."""

from __future__ import annotations

import importlib.util
import io
import mmap
import os
import struct
import tokenize
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from sdic.checkpoints.pickles import DamagedError, ForeignCallError, Unpickler
from sdic.checkpoints.stored import LEGACY_MAGIC, Names, NotWeightsError, plain, read_legacy, zip_reference
from sdic.errors import CheckpointError
from sdic.utils.text import one_line, reason

_OF_ZIP = (zipfile.BadZipFile, struct.error, ValueError, KeyError, IndexError, NotImplementedError, OSError, EOFError)
NUMPY_MAGIC = b"\x93NUMPY"
_NPY_HEAD = 1 << 16  # more bytes than the text before an array's content may have
_LOCAL_HEADER = 30  # bytes before the names of a zip member
_MEMBERS = 100_000


def load_tensors(path: str | os.PathLike[str], trust: bool = False) -> Any:
    """What torch.save or pickle wrote, on the CPU: dicts and lists of tensors (a pickle's numpy arrays become tensors),
    argparse.Namespace, in which the e4e family keeps its options, and inert records of NVIDIA's networks.

    Nothing is executed, and nothing takes more memory than the file has bytes. CheckpointError for a file that would
    execute code, that is damaged, or that holds tensors which are no weights (sparse, quantised, complex).
    `trust` unpickles what torch.save wrote even if it executes code, where the program that it calls is installed: only
    ever on the user's explicit word.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    torch_made = True
    try:
        with open(path, "rb") as handle:
            if os.fstat(handle.fileno()).st_size == 0:
                raise DamagedError("it is empty")
            data = memoryview(mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_COPY))
        names = Names(len(data))
        if data[:4] == b"PK\x03\x04":
            return _read_zip(path, data, names)
        if data[: len(LEGACY_MAGIC)] == LEGACY_MAGIC:
            return read_legacy(data, names)
        torch_made = False
        if data[: len(NUMPY_MAGIC)] == NUMPY_MAGIC:
            data = _objects(data)
        if data[:1] != b"\x80":
            raise DamagedError("it is neither a zip nor a pickle")
        return _with_tensors(Unpickler(data, names.calls, names.build).load())
    except ForeignCallError as error:
        if trust and torch_made and _importable(error.name.split(".")[0]):
            return _executed(path)
        raise CheckpointError(_unsafe(path, error.name, torch_made)) from error
    except (DamagedError, NotWeightsError) as error:
        raise CheckpointError(f"{path}: not a readable torch file, or damaged ({one_line(error)})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({reason(error)})") from error


def _read_zip(path: Path, data: memoryview, names: Names) -> Any:
    """What torch 1.6 and later write: `NAME/data.pkl`, and the numbers of each storage as `NAME/data/KEY`."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except _OF_ZIP as error:
        raise DamagedError(f"its list of contents is damaged ({one_line(error)})") from error
    records = {info.filename: info for info in members[:_MEMBERS]}
    top = next((name for name in records if name.endswith("/data.pkl") and name.count("/") == 1), None)
    if top is None:
        raise DamagedError("a zip without data.pkl: torch.save did not write it")
    folder = top.removesuffix("data.pkl")
    order = records.get(f"{folder}byteorder")
    if order is not None and bytes(_content(data, order)) != b"little":
        raise NotWeightsError("it was not written on a little-endian machine")
    numbers = f"{folder}data/"
    storages = {
        name.removeprefix(numbers): _content(data, info) for name, info in records.items() if name.startswith(numbers)
    }
    return Unpickler(_content(data, records[top]), names.calls, names.build, zip_reference(storages)).load()


def _content(data: memoryview, info: zipfile.ZipInfo) -> memoryview:
    """The bytes of a member where they lie in the file."""
    start = info.header_offset
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise DamagedError(f"{info.filename} is compressed or encrypted; torch.save does neither")
    if not 0 <= start <= len(data) - _LOCAL_HEADER or data[start : start + 4] != b"PK\x03\x04":
        raise DamagedError(f"{info.filename} is not where the list of contents says")
    name, extra = struct.unpack("<HH", data[start + 26 : start + 30])
    start += _LOCAL_HEADER + name + extra
    if start + info.file_size > len(data):
        raise DamagedError(f"{info.filename} is cut off")
    return data[start : start + info.file_size]


def _executed(path: Path) -> Any:
    """torch's own unpickler. Whatever the file's code raises becomes one line."""
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    except (Exception, SystemExit) as error:  # the file's own code ran
        raise CheckpointError(
            f"{path}: --trust did not help: unpickling it ended in {type(error).__name__} ({one_line(error)})"
        ) from error


def _unsafe(path: Path, name: str, torch_made: bool) -> str:
    """Why a file is refused that calls `name`, and what can be done about it, if anything."""
    refused = f"{path}: refused, because loading it could execute code (it calls {one_line(name)})"
    program = name.split(".")[0]
    if not torch_made:
        return (
            f"{refused}. Of plain pickles, dicts of tensors and the networks of stylegan2-ada(-pytorch) and stylegan3 "
            "(StyleGAN2) are read; save the tensors with torch.save in the program that made it"
        )
    if not _importable(program):
        return (
            f"{refused}. That is part of another program, {one_line(program)}, which is not installed here, so --trust "
            "would not help: save its state_dict with torch.save in that program"
        )
    return (
        f"{refused}. If you trust where it comes from, convert it once, knowingly: "
        f"sdic convert {path} --out {path.with_suffix('.safetensors').name} --trust"
    )


def _importable(program: str) -> bool:
    """Whether a package of this name is installed; nothing is imported."""
    try:
        return program.isidentifier() and importlib.util.find_spec(program) is not None
    except (ImportError, ValueError):
        return False


def npy_header(handle: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, whether in Fortran's order, dtype) of a .npy; the handle then stands at its content.

    Damaged ones raise what numpy does, a ValueError above all: the text there is parsed as Python.
    """
    version = np.lib.format.read_magic(handle)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"a .npy of version {version}")
    return read(handle)


def _objects(data: memoryview) -> memoryview:
    """The pickle in a .npy of objects, such as numpy.save writes for a dict of names."""
    head = io.BytesIO(data[:_NPY_HEAD])
    try:
        if not npy_header(head)[2].hasobject:
            raise DamagedError("a .npy of plain numbers, which is no pickle")
    except (ValueError, SyntaxError, TypeError, KeyError, EOFError, tokenize.TokenError) as error:
        raise DamagedError(f"the header of a .npy: {one_line(error)}") from error
    return data[head.tell() :]


def _with_tensors(content: Any, depth: int = 2) -> Any:
    """The arrays of a pickle as tensors, also those of its dicts and lists and of the ones in these."""
    content = plain(content)
    if depth and isinstance(content, Mapping):
        return {key: _with_tensors(value, depth - 1) for key, value in content.items()}
    if depth and isinstance(content, list | tuple):
        return type(content)(_with_tensors(value, depth - 1) for value in content)
    return content
