"""The names that weight files call, and what stands for them: tensors, arrays and inert records.

Every tensor is a view of bytes of its file, so none can ask for more memory than the file has.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdic.checkpoints.pickles import Call, DamagedError, Name, Record, Unpickler, as_set
from sdic.errors import SdicError

_DTYPES = {
    "Float": torch.float32,
    "Double": torch.float64,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}
STORAGES = {f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()}
LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
"""The pickle of a number that begins what torch.save wrote before torch 1.6, and every storage inside a pickle."""
_KINDS = "fiu"  # numpy's letters for real numbers
_NO_WEIGHTS = {
    "_rebuild_sparse_tensor": "sparse",
    "_rebuild_sparse_csr_tensor": "sparse",
    "_rebuild_qtensor": "quantised",
    "_rebuild_meta_tensor_no_storage": "empty (meta)",
    "_rebuild_nested_tensor": "nested",
    "_rebuild_tensor_v3": "specially stored",
    "_rebuild_wrapper_subclass": "specially stored",
}


class NotWeightsError(SdicError):
    """The file is whole, but holds tensors of a kind that no network here has."""


@dataclass(frozen=True)
class Storage:
    """The numbers that tensors are views of: bytes of the file, or `count` numbers that come later in it."""

    dtype: torch.dtype
    data: memoryview | None
    count: int = 0

    def __len__(self) -> int:
        return self.count if self.data is None else len(self.data) // self.dtype.itemsize


@dataclass
class _Array:
    """A numpy array whose content comes with its state."""

    value: Any = None


@dataclass
class _DType:
    """numpy's name of a number format, and its byte order."""

    code: str
    order: str = "<"

    def dtype(self) -> np.dtype[Any]:
        found = np.dtype(self.code)
        found = found.newbyteorder(">") if self.order == ">" else found
        if found.kind not in _KINDS + "b" or found.itemsize > 8:
            raise NotWeightsError(f"it holds an array of {found.name}")
        return found


class Names:
    """The table of one file of `size` bytes: what is copied out of it, and what its tensors ask for beyond their
    storages (stride 0), is at most that, or a megabyte."""

    def __init__(self, size: int):
        self.left = dict.fromkeys(("copied", "repeated"), max(size, 1 << 20))
        self.calls: dict[str, Call] = {
            "collections.OrderedDict": lambda args: _pairs(*args),
            "dnnlib.util.EasyDict": lambda args: _pairs(*args),
            "dnnlib.EasyDict": lambda args: _pairs(*args),
            "builtins.set": lambda args: as_set(*args),
            "builtins.frozenset": lambda args: as_set(*args),
            "_codecs.encode": lambda args: _text(args[0]).encode("latin-1"),
            "argparse.Namespace": lambda args: argparse.Namespace(),
            "torch.Size": lambda args: tuple(args[0]),
            "torch.device": lambda args: ":".join(map(_text, args[:1])),
            "torch._utils._rebuild_tensor": lambda args: self._tensor(*args[:4]),
            "torch._utils._rebuild_tensor_v2": lambda args: self._tensor(*args[:4]),
            "torch._utils._rebuild_parameter": lambda args: _a_tensor(args[0]),
            "torch._utils._rebuild_parameter_with_state": lambda args: _a_tensor(args[0]),
            "torch.storage._load_from_bytes": lambda args: self._storage(args[0]),
            "numpy.dtype": lambda args: _DType(_text(args[0])),
            "numpy.core.multiarray._reconstruct": lambda args: _Array(),
            "numpy.core.multiarray.scalar": lambda args: np.frombuffer(_bytes(args[1]), args[0].dtype())[0].item(),
            "numpy.core.numeric._frombuffer": lambda args: self._array(args[0], args[1], args[2], args[3] == "F"),
            "torch_utils.persistence._reconstruct_persistent_obj": lambda args: _persistent(*args),
            "dnnlib.tflib.network.Network": lambda args: Record("dnnlib.tflib.network.Network"),
            **{f"torch._utils.{name}": _refusal(kind) for name, kind in _NO_WEIGHTS.items()},
        }

    def build(self, value: Any, state: Any) -> Any:
        """A value with the state that the file gives it."""
        if isinstance(value, Record) and value.state is None:
            value.state = state
        elif isinstance(value, _DType):
            value.order = _text(state[1])
        elif isinstance(value, _Array) and value.value is None:
            _, shape, dtype, fortran, content = state
            if isinstance(content, list):  # objects, as numpy.save writes a dict: one of shape []
                value.value = content[0] if not shape and len(content) == 1 else content
            else:
                value.value = self._array(content, dtype, shape, bool(fortran))
        elif isinstance(value, argparse.Namespace):
            vars(value).update({_text(key): entry for key, entry in state.items()})
        elif not isinstance(value, (dict, Tensor)):  # attributes of those (such as torch's `_metadata`) are not read
            raise DamagedError(f"the pickle gives a {type(value).__name__} a state")
        return value

    def _tensor(self, storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int]) -> Tensor:
        if not isinstance(storage, Storage):
            raise DamagedError("a tensor without a storage")
        if len(size) != len(stride) or any(
            type(n) is not int or not 0 <= n < 1 << 40 for n in (*size, *stride, offset)
        ):
            raise DamagedError(f"a tensor of size {list(size)[:8]} and stride {list(stride)[:8]}")
        count = math.prod(size)
        if count == 0:
            return torch.empty(tuple(size), dtype=storage.dtype)
        if offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) >= len(storage):
            raise DamagedError(f"a tensor of size {list(size)} reaches beyond its {len(storage)} numbers")
        if count > len(storage):  # the same numbers several times: cheap here, not where it is used
            self._charge("repeated", count * storage.dtype.itemsize)
        flat = torch.frombuffer(storage.data, dtype=storage.dtype, count=len(storage))
        return flat.as_strided(tuple(size), tuple(stride), offset)

    def _storage(self, content: Any) -> Storage:
        """A storage that was pickled by itself, in the format of torch.save before torch 1.6."""
        content = memoryview(_bytes(content))
        self._charge("copied", len(content))
        stored = read_legacy(content, None)
        if not isinstance(stored, Storage):
            raise DamagedError("a storage that is none")
        return stored

    def _array(self, content: Any, dtype: Any, shape: Sequence[int], fortran: bool) -> np.ndarray[Any, Any]:
        content = _bytes(content)
        self._charge("copied", len(content))
        array = np.frombuffer(content, dtype.dtype()).copy()
        return array.reshape(tuple(shape), order="F" if fortran else "C")

    def _charge(self, kind: str, size: int) -> None:
        self.left[kind] -= size
        if self.left[kind] < 0:
            raise DamagedError("its tensors ask for more memory than the file has bytes")


def read_legacy(data: memoryview, names: Names | None) -> Any:
    """What torch.save wrote before torch 1.6: three small pickles, the object's, the storages' names, their numbers.

    The object comes before its numbers, so it is read twice: first for where they begin. names: None for a storage by
    itself, which calls nothing.
    """
    calls, build = ({}, _keep) if names is None else (names.calls, names.build)
    position = len(LEGACY_MAGIC)
    for _ in range(2):  # the format's version, the machine's number formats
        about = Unpickler(data, {}, _keep, position=position)
        value, position = about.load(), about.position
    if not isinstance(value, dict) or value.get("little_endian") is not True:
        raise NotWeightsError("it was not written on a little-endian machine")
    storages: dict[str, Storage] = {}

    def reference(args: Any) -> Storage:
        dtype, key, count = _reference(args)
        return storages.setdefault(key, Storage(dtype, None, count))

    scanned = {name: call if name in _FILLED else lambda args: None for name, call in calls.items()}
    scan = Unpickler(data, scanned, _keep, reference, position)
    scan.load()
    listed = Unpickler(data, {}, _keep, position=scan.position)
    keys, end = listed.load(), listed.position
    if not isinstance(keys, list) or any(type(key) is not str or key not in storages for key in keys):
        raise DamagedError("the names of its storages do not fit")
    for key in keys:
        storage, count = storages[key], int.from_bytes(data[end : end + 8], "little")
        size = count * storage.dtype.itemsize
        if len(storage) != count or end + 8 + size > len(data):
            raise DamagedError(f"the numbers of storage {key} are cut off, or are not as many as it says")
        storages[key] = Storage(storage.dtype, memoryview(bytearray(data[end + 8 : end + 8 + size])))  # aligned
        end += 8 + size
    missing = sum(storage.data is None for storage in storages.values())
    if missing:
        raise DamagedError(f"{missing} storages have no numbers")
    return Unpickler(data, calls, build, lambda args: storages[_reference(args)[1]], position).load()


_FILLED = {"collections.OrderedDict", "dnnlib.util.EasyDict", "dnnlib.EasyDict", "builtins.set"}


def zip_reference(records: Mapping[str, memoryview]) -> Call:
    """What stands for a storage in a file of torch 1.6 and later: the record of its name. records: name -> bytes."""

    def reference(args: Any) -> Storage:
        dtype, key, count = _reference(args)
        size = count * dtype.itemsize
        if key not in records or size > len(records[key]):
            raise DamagedError(f"the numbers of storage {key} are missing or cut off")
        data = records[key][:size]
        if size and np.frombuffer(data, np.uint8).ctypes.data % dtype.itemsize:
            data = memoryview(bytearray(data))  # torch aligns them; another program's zip may not
        return Storage(dtype, data)

    return reference


def _reference(args: Any) -> tuple[torch.dtype, str, int]:
    """(dtype, key, how many numbers) of a reference to a storage."""
    if not isinstance(args, tuple) or len(args) not in (5, 6) or args[0] != "storage" or args[5:] not in ((), (None,)):
        raise DamagedError("a reference that is not to a storage")
    kind, key, count = args[1], args[2], args[4]
    if not isinstance(kind, Name) or not isinstance(key, str) or type(count) is not int or count < 0:
        raise DamagedError("a reference to a storage that says not which")
    if kind.name not in STORAGES:
        raise NotWeightsError(f"it holds tensors of {kind.name}")
    return STORAGES[kind.name], key, count


def _keep(value: Any, state: Any) -> Any:
    return value


def _pairs(pairs: Any = ()) -> dict[Any, Any]:
    return dict(pairs)


def _persistent(meta: Any = None) -> Record:
    """An object of `torch_utils.persistence`: its class's name and its state; its source code is left where it is."""
    if not isinstance(meta, dict) or meta.get("type") != "class" or not isinstance(meta.get("state"), dict):
        raise DamagedError("an object of torch_utils.persistence without a state")
    return Record(_text(meta.get("class_name")), meta["state"])


def _refusal(kind: str) -> Call:
    def refuse(args: Any) -> Any:
        raise NotWeightsError(f"it holds {kind} tensors")

    return refuse


def _a_tensor(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise DamagedError("a parameter that is no tensor")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DamagedError(f"a {type(value).__name__} where a text was expected")
    return value


def _bytes(value: Any) -> Any:
    if not isinstance(value, (bytes, memoryview)):
        raise DamagedError(f"a {type(value).__name__} where bytes were expected")
    return value


def plain(value: Any) -> Any:
    """An array as a tensor of float32 or int64; anything else as it is."""
    if isinstance(value, _Array):
        value = value.value
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.astype(np.float32 if value.dtype.kind == "f" else np.int64))
    return value
