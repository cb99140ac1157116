"""GANSpace (Härkönen et al. 2020): the directions in which a generator's own codes vary most. No labels, no files.

Shapes: N samples, D style width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sdic.direction import Direction, Kind
from sdic.errors import ConfigError
from sdic.networks.stylegan2 import Generator

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


def _decompose(generator: Generator, samples: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [D], components [D, D] in rows, unit norm, and the standard deviation along each [D]; float32 on the CPU."""
    width = generator.config.style_dim
    draw = torch.Generator().manual_seed(seed)
    weight = next(generator.mapping.parameters())
    total = torch.zeros(width, dtype=torch.float64)
    square = torch.zeros(width, width, dtype=torch.float64)
    for first in range(0, samples, CHUNK):
        z = torch.randn(min(CHUNK, samples - first), width, generator=draw)
        w = generator.mapping(z.to(weight)).cpu().double()
        total += w.sum(0)
        square += w.T @ w
    mean = total / samples
    variances, vectors = torch.linalg.eigh((square - samples * torch.outer(mean, mean)) / (samples - 1))
    components = vectors.T.flip(0)  # eigh sorts upwards
    peaks = components.gather(1, components.abs().argmax(1, keepdim=True))
    components = components * peaks.sign()  # a component and its opposite are equally right: take one for good
    return mean.float(), components.float(), variances.flip(0).clamp_min(0).sqrt().float()
