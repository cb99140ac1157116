"""Our own weight files: safetensors, every tensor named `role.parameter`, and a header of JSON texts.

Header: format "sdic.networks", `networks` {role: config}, `kinds` {role: kind of network}, and where the weights came
from (`file`, `sha256`, `layout`, and whatever the writer adds, such as the training run). `method` in it says what the
networks invert by, `options` with which of the method's options they were trained, `geometry` the picture sizes,
`domain` which directions are meant, ROLE_sha256 beside which frozen networks they were trained.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from sdic.checkpoints.bundle import Bundle, build, config_from_json, config_to_json, kind_of
from sdic.checkpoints.keymap import Renamed, load_into
from sdic.errors import CheckpointError
from sdic.utils.files import atomic_file, header_in_order, write_safetensors

FORMAT = "sdic.networks"


def write_native(
    path: str | os.PathLike[str],
    networks: Mapping[str, nn.Module],
    source: Mapping[str, str] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write networks to one file, whole or not at all. `dtype` (such as torch.float16) applies to floating tensors."""
    from safetensors.torch import save

    tensors = {}
    for role, network in networks.items():
        for name, tensor in network.state_dict().items():
            value = tensor.detach().cpu().contiguous()
            tensors[f"{role}.{name}"] = value.to(dtype) if dtype is not None and value.is_floating_point() else value
    header = {
        "format": FORMAT,
        "networks": json.dumps({role: json.loads(config_to_json(network)) for role, network in networks.items()}),
        "kinds": json.dumps({role: kind_of(network) for role, network in networks.items()}),
        "source": json.dumps(dict(source or {})),
    }
    write_safetensors(path, save(tensors, metadata=header))


def copy_native(path: str | os.PathLike[str], target: str | os.PathLike[str], source: Mapping[str, str]) -> None:
    """Copy a file that `write_native` wrote: the same tensors, byte for byte, with `source` put into its header's."""
    blob = Path(path).read_bytes()
    size = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + size])
    about = header.get("__metadata__", {})
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{path}: holds no sdic networks (its header says format={about.get('format')!r})")
    about["source"] = json.dumps({**json.loads(about.get("source", "{}")), **source})
    with atomic_file(target) as handle:
        handle.write(header_in_order(json.dumps(header).encode()))
        handle.write(memoryview(blob)[8 + size :])


def read_native(path: str | os.PathLike[str]) -> Bundle:
    """Read a file that `write_native` wrote: networks in float32 on the CPU, frozen, in eval mode."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        with safe_open(str(path), framework="pt") as handle:
            header = handle.metadata() or {}
            if header.get("format") != FORMAT:
                raise CheckpointError(
                    f"{path}: holds no sdic networks (its header says format={header.get('format')!r})"
                )
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable safetensors file ({error})") from error
    networks: dict[str, nn.Module] = {}
    kinds = json.loads(header.get("kinds", "{}"))  # files of earlier versions: every role is its kind
    for role, values in json.loads(header["networks"]).items():
        kind = kinds.get(role, role)
        network = build(kind, config_from_json(kind, json.dumps(values)))
        prefix = f"{role}."
        state = {key[len(prefix) :]: tensor for key, tensor in tensors.items() if key.startswith(prefix)}
        state = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
        load_into(network, Renamed(state, {}, {}), f"{path} ({role})")
        networks[role] = network
    unknown = [key for key in tensors if key.split(".", 1)[0] not in networks]
    if unknown:
        raise CheckpointError(f"{path}: tensors of no network: {', '.join(unknown[:8])}")
    return Bundle(networks, {"file": path.name, **json.loads(header.get("source", "{}"))})
