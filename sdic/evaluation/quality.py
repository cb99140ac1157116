"""How good the generator itself is: Fréchet distance of its pictures to portraits it has never seen.

Shapes: N pictures of each kind, D style width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from sdic.data.portraits import split_params
from sdic.data.sampler import derive_seed
from sdic.evaluation.fid import frechet_distance, moments_of
from sdic.evaluation.metrics import seen
from sdic.evaluation.subjects import draw, in_levels
from sdic.types import Geometry

BATCH = 32


@torch.no_grad()
def generator_quality(
    generator: Any,
    geometry: Geometry,
    features: Callable[[Tensor], Tensor],
    split: str,
    count: int,
    seed: int,
    step: Callable[[str], None],
) -> dict[str, float]:
    """The distance of N samples to N portraits without details, and of N other such portraits to them.

    Samples have truncation 1, and noise drawn anew for each, as the field measures.

    The second is what a perfect generator would get: small samples make every such distance larger than it should be.
    `step` hears of every batch of BATCH.
    """
    device = generator.latent_avg.device

    def portraits(first: int) -> Iterator[Tensor]:
        for start in range(0, count, BATCH):
            params = split_params(split, min(BATCH, count - start), first + start).without_details()
            step("drawing portraits")
            yield draw(params, geometry.input_size[0], device)

    def samples() -> Iterator[Tensor]:
        source = torch.Generator().manual_seed(derive_seed("evaluation", seed))
        for start in range(0, count, BATCH):
            z = torch.randn(min(BATCH, count - start), generator.config.style_dim, generator=source)
            step("sampling the generator")
            yield in_levels(seen(generator(z.to(device), noise="random"), geometry))

    real, other = moments_of(portraits(0), features), moments_of(portraits(count), features)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed("evaluation noise", seed))
        drawn = moments_of(samples(), features)
    return {"frechet": frechet_distance(drawn, real), "frechet_of_real": frechet_distance(other, real)}
