"""How far codes lie from the generator's own. D style width.

Edits are found in W and hold there; a code far from it is reconstructed well and edited badly (Tov et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SMALLEST = 1e-10  # of the largest variance: below it float32 codes hold nothing but rounding


@dataclass(frozen=True)
class OwnCodes:
    """Gaussian of the codes that a mapping network makes. mean: [D]. whiten: [D, D], both float64 on the CPU."""

    mean: Tensor
    whiten: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, generator: Any, count: int = 20_000) -> OwnCodes:
        """From `count` codes of random z, always the same ones, of a Generator."""
        draw = torch.Generator().manual_seed(0)
        z = torch.randn(count, generator.config.style_dim, generator=draw)
        device = generator.latent_avg.device
        return cls.from_codes(torch.cat([generator.mapping(part.to(device)) for part in z.split(1000)]))

    @classmethod
    def from_codes(cls, codes: Tensor) -> OwnCodes:
        """From codes [N, D], N well above D."""
        codes = codes.detach().double().cpu()
        values, vectors = torch.linalg.eigh(torch.cov(codes.t()))
        return cls(codes.mean(0), vectors / values.clamp_min(SMALLEST * float(values[-1])).sqrt())

    def spread(self) -> Tensor:
        """[D, D], float64: its product with D standard normal numbers is a code of W's covariance, less the mean."""
        return torch.linalg.inv(self.whiten).t()

    def distance(self, code: Tensor) -> Tensor:
        """Mahalanobis distance of each code [..., D] -> [...], in standard deviations; about sqrt(D) for own codes."""
        return ((code.detach().double().cpu() - self.mean) @ self.whiten).norm(dim=-1).float()
