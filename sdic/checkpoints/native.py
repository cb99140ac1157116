"""Our own weight files: safetensors, every tensor named `role.parameter`, and a header of JSON texts.

Header: format "sdic.networks", `networks` {role: config}, `kinds` {role: kind of network}, and where the weights came
from (`file`, `sha256`, `layout`, and whatever the writer adds, such as the training run). `method` in it says what the
networks invert by, `options` with which of the method's options they were trained, `geometry` the picture sizes,
`domain` which directions are meant, ROLE_sha256 beside which frozen networks they were trained.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdic.checkpoints.bundle import Bundle, build, config_from, config_of, kind_of
from sdic.checkpoints.keymap import Renamed, load_into
from sdic.errors import CheckpointError
from sdic.utils.tensors import read_tensors, write_tensors
from sdic.utils.text import one_line

FORMAT = "sdic.networks"
FEW, SCALE = 1024, 1 << 20
SCALES = {"channel_base", "resolution", "input_size", "map_size", "feature_size", "size"}
"""Settings from which sizes follow by division or by powers of two; they may be larger than any tensor."""


def write_native(
    path: str | os.PathLike[str],
    networks: Mapping[str, nn.Module],
    source: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write networks to one file, whole or not at all. `dtype` (such as torch.float16) applies to floating tensors."""
    tensors = {}
    for role, network in networks.items():
        for name, value in network.state_dict().items():
            tensors[f"{role}.{name}"] = value.to(dtype) if dtype is not None and value.is_floating_point() else value
    header = {
        "format": FORMAT,
        "networks": json.dumps({role: config_of(network) for role, network in networks.items()}),
        "kinds": json.dumps({role: kind_of(network) for role, network in networks.items()}),
        "source": json.dumps(dict(source or {})),
    }
    write_tensors(path, tensors, header)


def copy_native(path: str | os.PathLike[str], target: str | os.PathLike[str], source: Mapping[str, str]) -> None:
    """Copy a file that `write_native` wrote: the same tensors, with `source` put into its header's."""
    tensors, header = _read(Path(path))
    source = {**_json_dict(header, "source", Path(path)), **source}
    write_tensors(target, tensors, {**header, "source": json.dumps(source)})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """`read_tensors` of a file of ours; CheckpointError for any other."""
    tensors, header = read_tensors(path)
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: holds no sdic networks (its header says format={header.get('format')!r})")
    return tensors, header


def read_native(path: str | os.PathLike[str]) -> Bundle:
    """Read a file that `write_native` wrote: networks in float32 on the CPU, frozen, in eval mode.

    CheckpointError for a damaged header, and for settings that ask for more than the file's tensors.
    """
    path = Path(path)
    tensors, header = _read(path)
    networks: dict[str, nn.Module] = {}
    kinds = _json_dict(header, "kinds", path)  # files of earlier versions: every role is its kind
    for role, values in _json_dict(header, "networks", path).items():
        kind = kinds.get(role, role)
        state = {key[len(role) + 1 :]: tensor for key, tensor in tensors.items() if key.startswith(f"{role}.")}
        sizes = [size for tensor in state.values() for size in (*tensor.shape, 1)]
        _check_sizes(values, max([len(sizes), *sizes]), f"{path} ({role})")
        network = build(kind, config_from(kind, values))
        load_into(network, Renamed(state, {}, {}), f"{path} ({role})")
        networks[role] = network
    unknown = [key for key in tensors if key.split(".", 1)[0] not in networks]
    if unknown:
        raise CheckpointError(f"{path}: tensors of no network: {', '.join(unknown[:8])}")
    source = _json_dict(header, "source", path)
    if not all(isinstance(value, str) for value in source.values()):
        raise CheckpointError(f"{path}: its header says where it comes from in something else than texts")
    if "layer" in source and not re.fullmatch("[0-9]{1,3}", source["layer"]):
        raise CheckpointError(f"{path}: its header names the layer {one_line(source['layer'])!r}, no number")
    return Bundle(networks, {"file": path.name, **source})


def _json_dict(header: Mapping[str, str], name: str, path: Path) -> dict[str, Any]:
    """The JSON object under a name of a header; CheckpointError for anything else."""
    try:
        found = json.loads(header.get(name, "{}"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its header is damaged: {name} is no JSON ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: its header is damaged: {name} is a {type(found).__name__}, no dict")
    return found


def _check_sizes(values: Any, most: int, what: str) -> None:
    """CheckpointError for a config that asks for more than its tensors can fill, before anything is built from it.

    most: the largest size of a tensor, or how many there are. Numbers below FEW are cheap whatever they count.
    """
    if not isinstance(values, dict):
        raise CheckpointError(f"{what}: its config is a {type(values).__name__}, no dict")
    for name, value in values.items():
        for number in value if isinstance(value, list) else [value]:
            if not isinstance(number, (int, float, str, type(None))):
                raise CheckpointError(f"{what}: its config is damaged: {name} holds a {type(number).__name__}")
            limit = SCALE if name in SCALES else max(most, FEW)
            if isinstance(number, (int, float)) and not abs(number) <= limit:
                raise CheckpointError(f"{what}: its config says {name} {number:.4g}, more than its tensors have")
