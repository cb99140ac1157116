"""How good the generator itself is: Fréchet distance of its pictures to real ones that nothing was trained on.

Shapes: N pictures of each kind, D style width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from sdic.data.sampler import derive_seed
from sdic.domains import TruthSource
from sdic.evaluation.fid import frechet_distance, moments_of
from sdic.evaluation.metrics import at_input_size
from sdic.types import Geometry
from sdic.utils.images import in_levels

BATCH = 32


@torch.no_grad()
def generator_quality(
    generator: Any,
    geometry: Geometry,
    features: Callable[[Tensor], Tensor],
    source: type[TruthSource],
    count: int,
    seed: int,
    step: Callable[[str], None],
) -> dict[str, float]:
    """The distance of N samples to N pictures without details, and of N other such pictures to them.

    The second is what a perfect generator would get: small samples make every such distance larger than it should be.
    Samples have truncation 1, and noise drawn anew for each, as the field measures.
    `step` is called before every batch of BATCH.
    """
    device = generator.latent_avg.device

    def pictures(first: int) -> Iterator[Tensor]:
        for start in range(0, count, BATCH):
            step("drawing pictures")
            yield source.without_details(first + start, min(BATCH, count - start), geometry, device)

    def samples() -> Iterator[Tensor]:
        draw = torch.Generator().manual_seed(derive_seed("evaluation", seed))
        for start in range(0, count, BATCH):
            z = torch.randn(min(BATCH, count - start), generator.config.style_dim, generator=draw)
            step("sampling the generator")
            yield in_levels(at_input_size(generator(z.to(device), noise="random"), geometry))

    real, other = moments_of(pictures(0), features), moments_of(pictures(count), features)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derive_seed("evaluation noise", seed))
        drawn = moments_of(samples(), features)
    return {"frechet": frechet_distance(drawn, real), "frechet_of_real": frechet_distance(other, real)}
