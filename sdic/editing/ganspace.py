"""GANSpace (Härkönen et al. 2020): the directions in which a generator's own codes vary most. No labels, no files.

Shapes: N samples, D style width.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sdic.direction import Direction, Kind
from sdic.errors import ConfigError
from sdic.networks.stylegan2 import Generator
from sdic.utils.files import atomic_file

SAMPLES = 10_000
CHUNK = 2_000
LIMITS = (-3.0, 3.0)  # in standard deviations: nearly all codes lie there


@torch.no_grad()
def principal_components(
    generator: Generator, count: int = 10, samples: int = SAMPLES, seed: int = 0, kind: Kind = "add"
) -> list[Direction]:
    """The first `count` principal components of w = mapping(z) over `samples` draws of z, the widest first.

    kind "add": strength 1 moves a code by one standard deviation along the component. kind "set": strength s puts it at
    s standard deviations from the mean, as the published GANSpace edits count. The same seed gives the same directions,
    signs included. ConfigError when more components are asked for than the codes have dimensions.
    """
    width = generator.config.style_dim
    if not 0 < count <= width:
        raise ConfigError(f"the codes have {width} dimensions, so 1 to {width} principal components, not {count}")
    mean, components, deviations = _decompose(generator, max(samples, 2), seed)
    directions = []
    for index in range(count):
        component, deviation = components[index], float(deviations[index])
        directions.append(
            Direction(
                component * deviation if kind == "add" else component,
                kind=kind,
                origin=mean if kind == "set" else None,
                scale=deviation if kind == "set" else 1.0,
                limits=LIMITS,
                name=f"pc{index}",
                unit="standard deviations" + (" from the mean" if kind == "set" else ""),
                source={"found": f"principal component {index} of {samples} codes from seed {seed}"},
            )
        )
    return directions


def own_codes(generator: Generator, count: int, seed: int = 0) -> Iterator[Tensor]:
    """`count` codes w = mapping(z) of this generator's own, always the same ones, in parts [n, D] on the CPU."""
    draw = torch.Generator().manual_seed(seed)
    weight = next(generator.mapping.parameters())
    for first in range(0, count, CHUNK):
        z = torch.randn(CHUNK, generator.config.style_dim, generator=draw)[: count - first]  # the first are the same
        with torch.no_grad():
            yield generator.mapping(z.to(weight)).cpu()


def moments(generator: Generator, samples: int = SAMPLES, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Mean [D] and covariance [D, D] of the generator's own codes, float64 on the CPU."""
    width = generator.config.style_dim
    total = torch.zeros(width, dtype=torch.float64)
    square = torch.zeros(width, width, dtype=torch.float64)
    for part in own_codes(generator, samples, seed):
        w = part.double()
        total += w.sum(0)
        square += w.T @ w
    mean = total / samples
    return mean, (square - samples * torch.outer(mean, mean)) / (samples - 1)


def _decompose(generator: Generator, samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [D], components [D, D] in rows, unit norm, and the standard deviation along each [D]; float32 on the CPU."""
    mean, covariance = moments(generator, samples, seed)
    variances, vectors = torch.linalg.eigh(covariance)
    components = vectors.T.flip(0)  # eigh sorts upwards
    peaks = components.gather(1, components.abs().argmax(1, keepdim=True))
    components = components * peaks.sign()  # a component and its opposite are equally right: take one for good
    return mean.float(), components.float(), variances.flip(0).clamp_min(0).sqrt().float()


@torch.no_grad()
def save_components(
    path: str | os.PathLike[str], generator: Generator, count: int = 10, samples: int = SAMPLES, seed: int = 0
) -> list[float]:
    """Write the first `count` components as GANSpace does: an .npz of lat_mean [1, D], lat_comp [N, 1, D], lat_stdev
    [N] and var_ratio [N], which other tools and `--edit FILE.npz#2=3` read. Returns each one's share of the variance.

    ConfigError as `principal_components`, and for a file that is no .npz.
    """
    width = generator.config.style_dim
    if Path(path).suffix != ".npz":
        raise ConfigError(f"{os.fspath(path)}: components are written as .npz")
    if not 0 < count <= width:
        raise ConfigError(f"the codes have {width} dimensions, so 1 to {width} principal components, not {count}")
    mean, components, deviations = _decompose(generator, max(samples, 2), seed)
    shares = deviations.square() / deviations.square().sum()
    arrays: dict[str, Any] = {
        "lat_mean": mean[None].numpy(),
        "lat_comp": components[:count, None].numpy(),
        "lat_stdev": deviations[:count].numpy(),
        "var_ratio": shares[:count].numpy(),
    }
    with atomic_file(path) as handle:
        np.savez(handle, **arrays)
    return shares[:count].tolist()
