"""What the files of the field hold, as directions: which layout is which, and why others are none.

| layout | is read as |
|---|---|
| [D], [1, D], [L, D], [1, L, D] (InterFaceGAN, e4e, HFGI, PTI) | strength times it is added; equal rows are one of W |
| [L * D], [1, L * D] (FS, StyleFeatureEditor) | the same, flattened |
| {mean, comp, std} or {lat_mean, lat_comp, lat_stdev} (GANSpace) | one component, kind "set" |
| {boundary, meta_data: {manipulate_layers}} (In-Domain inversion, pickled) | added to those rows |
| [S], [1, S] (StyleCLIP, StyleSpace), S as in `styles.sizes` | a direction of style space |

Shapes: L latent rows, D style width, S channels of style vectors, C channels of a table, E embedding width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.direction import Direction
from sdic.editing.styles import from_flat, sizes
from sdic.errors import CheckpointError, ConfigError
from sdic.networks.stylegan2 import GeneratorConfig
from sdic.utils.text import one_line

GANSPACE = (("mean", "comp", "std"), ("lat_mean", "lat_comp", "lat_stdev"))
OTHERS = re.compile(r"(pggan|stylegan)_.*boundary.*")
"""Files of InterFaceGAN's own repository."""
NAMED = {
    "s_mean_std": "StyleCLIP's means and deviations of the styles; with a table of channels and the difference of two "
    "texts they make a direction: sdic directions styleclip --stats S_mean_std",
    ".txt": "a text, such as StyleCLIP's prompts, which CLIP's text encoder makes directions of, and that is not here",
    ".csv": "a table; components that it names can be named in a manifest.yaml, labels are for sdic directions find",
    ".yaml": "a list of directions; as manifest.yaml in a folder that $SDIC_EDITINGS names, its names are known",
    ".pkl": "a pickle, which the programs of the field use for networks; save its array as .npy",
}
ROWS = range(8, 19, 2)
"""Latent rows that a StyleGAN2 may have, of 32 to 1024 px."""
EMBEDDINGS = (512, 640, 768, 1024)
"""Widths of CLIP's embeddings."""


def no_direction(path: Path) -> str:
    """What a file is, by its name, that is known to be no direction; "" otherwise."""
    return NAMED.get(path.name.lower()) or NAMED.get(path.suffix.lower(), "")


def as_direction(content: Any, path: Path, component: int | None, config: GeneratorConfig) -> Direction:
    """The direction in what a file holds. CheckpointError or ConfigError says why it is none.

    component: which one of several. config: of the generator that it is for.
    """
    if OTHERS.match(path.name):
        raise CheckpointError(
            f"{path}: a boundary of InterFaceGAN's own repository, found in a StyleGAN1 or PGGAN, whose codes a "
            "StyleGAN2 does not share; under another name the file is read, if you know that it is your generator's"
        )
    if isinstance(content, Mapping):
        for names in GANSPACE:
            if set(names) <= set(content):
                return _component(*(content[name] for name in names), path=path, component=component)
        if "boundary" in content:
            return single(_boundary(content, path), path, component)
        tensors = [value for value in content.values() if isinstance(value, Tensor)]
        if len(tensors) != 1:
            raise CheckpointError(f"{path}: holds {_of_mapping(content)}, which is no direction")
        content = tensors[0]
    if not isinstance(content, Tensor):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, which is no direction")
    return _of_tensor(content.detach().float(), path, component, config)


def _of_tensor(delta: Tensor, path: Path, component: int | None, config: GeneratorConfig) -> Direction:
    width, count = config.style_dim, delta.numel()
    flat = delta.ndim in (1, 2) and count == delta.shape[-1]
    if component is None and flat and count > width:
        if not count % width and (count // width in ROWS or count not in sizes(config)):
            return Direction(delta.reshape(-1, width), name=path.stem)  # flattened W+, which fits its own rows alone
        if count in sizes(config):
            return from_flat(delta.flatten(), sizes(config)[count], name=path.stem, unit="of the style itself")
    if delta.ndim == 2 and len(delta) > max(ROWS) and len(delta) in sizes(config) and delta.shape[1] in EMBEDDINGS:
        raise CheckpointError(
            f"{path}: StyleCLIP's table of {len(delta)} channels, no direction; with the difference of two texts it "
            f"makes one: sdic directions styleclip --table {path.name}"
        )
    return single(Direction(delta, name=path.stem), path, component)


def _of_mapping(content: Mapping[Any, Any]) -> str:
    """What a dict of several things is."""
    inner = content.get("state_dict", content)
    keys = list(map(str, inner)) if isinstance(inner, Mapping) else []
    if any(key.startswith("mapper.") for key in keys):
        return "a mapper of StyleCLIP, a network whose edit depends on the photo"
    if any(key.endswith((".weight", ".bias")) for key in keys):
        return "the weights of a network"
    if "act_comp" in content:
        return "components of a layer's activations without those of the codes (lat_comp; dump them with GANSpace)"
    return one_line(", ".join(map(str, content)) or "nothing")


def single(direction: Direction, path: Path, component: int | None) -> Direction:
    """The direction of a file that holds one; the same in every row, it is one of W and fits any number of rows."""
    if component is not None:
        raise ConfigError(f"{path}: holds one direction and no components, and component {component} was asked for")
    if direction.kind != "style" and bool((direction.delta == direction.delta[:1]).all()):
        return replace(direction, delta=direction.delta[:1])
    return direction


def _boundary(content: Mapping[Any, Any], path: Path) -> Direction:
    """boundary [1, L, D] or [L, D], and the rows that it moves, all if none are named."""
    boundary, about = content["boundary"], content.get("meta_data", {})
    rows = about.get("manipulate_layers") if isinstance(about, Mapping) else None
    if not isinstance(boundary, Tensor) or boundary.ndim not in (2, 3):
        raise CheckpointError(f"{path}: its boundary must be an array [1, rows, width] of numbers")
    delta = boundary.detach().float().reshape(-1, boundary.shape[-1])
    if rows is not None:
        chosen = rows.flatten().tolist() if isinstance(rows, Tensor) else rows
        count = len(delta)
        if not isinstance(chosen, list | tuple) or not all(type(row) is int and 0 <= row < count for row in chosen):
            raise CheckpointError(
                f"{path}: manipulate_layers must list rows from 0 to {count - 1}, got {one_line(chosen)}"
            )
        moved = torch.zeros(count, 1)
        moved[list(chosen)] = 1
        delta = delta * moved
    return Direction(delta, name=path.stem)


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
