"""StyleCLIP's global directions (Patashnik et al. 2021, section 6) from its published files, without its text encoder.

Shapes: C channels that a table knows, E width of CLIP's embedding, I channels of a style vector.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdic.checkpoints.unpickle import load_tensors
from sdic.direction import StyleDirection
from sdic.editing.directions import read_arrays
from sdic.editing.styles import from_flat, sizes, vectors
from sdic.errors import CheckpointError, ConfigError
from sdic.networks.stylegan2 import GeneratorConfig

LIMITS = (-5.0, 5.0)  # StyleCLIP's own range of its strength alpha


def styleclip_direction(
    table: Tensor, deviations: Sequence[Tensor], text: Tensor, beta: float, config: GeneratorConfig, **about: Any
) -> StyleDirection:
    """The direction of a difference of two texts.

    table: [C, E], for each channel the unit direction in CLIP's space that it causes. deviations: of every style vector
    in StyleSpace's order, [I]. text: [E], the embedding of the target less that of the neutral text. beta: channels of
    less relevance stay.
    ConfigError where these do not fit each other or the generator, and where no channel is as relevant as beta.
    """
    held = sizes(config).get(len(table))
    if table.ndim != 2 or text.numel() != table.shape[1] or held is None:
        raise ConfigError(
            f"a table of channels is [C, E] with C one of {', '.join(map(str, sizes(config)))} for a generator of "
            f"{config.resolution} px, and the text's difference [E]; these are {list(table.shape)} and "
            f"{list(text.shape)}"
        )
    if not (torch.isfinite(table).all() and torch.isfinite(text).all() and text.norm() > 0):
        raise ConfigError("the table and the text's difference must be finite numbers, and the difference not 0")
    order = vectors(config)
    counts = [len(part.flatten()) for part in deviations]
    if counts != [vector.channels for vector in order]:
        raise ConfigError(
            f"standard deviations of {len(counts)} style vectors, {sum(counts)} channels; this generator has "
            f"{len(order)} of {sum(vector.channels for vector in order)} channels"
        )
    spread = torch.cat([deviations[order.index(vector)].flatten().float() for vector in held])
    relevance = table.float() @ (text.flatten().float() / text.norm())
    kept = torch.where(relevance.abs() < beta, 0.0, relevance)
    if not bool(kept.any()):
        most = float(relevance.abs().max())
        raise ConfigError(f"no channel is as relevant to the text as beta {beta:g}; the most relevant has {most:.3f}")
    return from_flat(kept / kept.abs().max() * spread, held, **about)


def read_styleclip(
    table: str | os.PathLike[str],
    stats: str | os.PathLike[str],
    text: str | os.PathLike[str],
    beta: float = 0.13,
    config: GeneratorConfig | None = None,
    name: str = "",
) -> StyleDirection:
    """The direction from files. table: fs3.npy or delta_i_c.npy. stats: S_mean_std. text: an array [E] or [1, E].

    config: of the generator; FFHQ's at 1024 px if None. Errors as `styleclip_direction`, and CheckpointError for files
    that hold something else.
    """
    arrays = []
    for path in (table, text):
        found = read_arrays(Path(path))
        if not isinstance(found, Tensor):
            raise CheckpointError(f"{os.fspath(path)}: must hold one array of numbers")
        arrays.append(found)
    content = load_tensors(stats)
    halves = content if isinstance(content, list | tuple) and len(content) == 2 else (None, None)
    if not isinstance(halves[1], list) or not all(isinstance(part, Tensor) for part in halves[1]):
        raise CheckpointError(f"{os.fspath(stats)}: S_mean_std holds two lists of arrays, means and deviations")
    about = {"name": name or Path(text).stem, "unit": "StyleCLIP's alpha", "limits": LIMITS}
    source = {"found": f"StyleCLIP, beta {beta:g}, from {Path(table).name} and {Path(text).name}"}
    return styleclip_direction(
        arrays[0], halves[1], arrays[1], beta, config or GeneratorConfig(), **about, source=source
    )
