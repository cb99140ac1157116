"""How far codes lie from the generator's own. D style width.

Edits are found in W and hold there; a code far from it is reconstructed well and edited badly (Tov et al. 2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST = 1e-10  # of the largest variance: below it float32 codes hold nothing but rounding


@torch.no_grad()
def own_codes(generator: Any, count: int, seed: int = 0) -> Tensor:
    """`count` codes [N, D] that a Generator's mapping network makes of random z; always the same ones for a seed."""
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(count, generator.config.style_dim, generator=draw)
    device = generator.latent_avg.device
    return torch.cat([generator.mapping(part.to(device)) for part in z.split(1000)])


@dataclass(frozen=True)
class OwnCodes:
    """Gaussian of the codes that a mapping network makes. mean: [D]. whiten: [D, D], both float64 on the CPU."""

    mean: Tensor
    whiten: Tensor

    @classmethod
    def of(cls, generator: Any, count: int = 20_000) -> OwnCodes:
        """From `count` codes of random z, always the same ones, of a Generator."""
        return cls.from_codes(own_codes(generator, count))

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


@dataclass(frozen=True)
class OwnStyles:
    """The mean direction of a generator's own style vectors, one [I] for each affine layer, float32."""

    means: tuple[Tensor, ...]

    @classmethod
    @torch.no_grad()
    def of(cls, generator: Any, codes: Tensor) -> OwnStyles:
        """From own codes [N, D] of a Generator."""
        rows = generator.config.latent_rows
        parts = [cls._units(generator, part[:, None].expand(-1, rows, -1)) for part in codes.split(1000)]
        return cls(tuple(torch.cat(layer).mean(0) for layer in zip(*parts, strict=True)))

    @torch.no_grad()
    def distance(self, generator: Any, latent: Tensor) -> Tensor:
        """Normalised style-space cosine distance (NSCD; LSAP, Cao et al. 2022) of latents [B, L, D] -> [B], 0 to 2.

        1 less the mean cosine between a code's style vectors and those of the generator's own codes; mean over layers.
        The mean cosine with many vectors is the product with the mean of their directions.
        """
        units = self._units(generator, latent)
        return 1 - torch.stack([unit @ mean for unit, mean in zip(units, self.means, strict=True)]).mean(0)

    @staticmethod
    def _units(generator: Any, latent: Tensor) -> list[Tensor]:
        """The style vectors of latents [B, L, D], each of length 1: [B, I] for every affine layer."""
        styles = generator.synthesis.styles(latent.to(generator.latent_avg))
        return [F.normalize(style.float(), dim=-1).cpu() for style in (*styles.convs.values(), *styles.rgb.values())]


class Nearness:
    """How near codes of a Generator are to its own: `from_w` by Mahalanobis distance in W, `nscd` by style vectors."""

    def __init__(self, generator: Any, count: int = 20_000):
        self.generator = generator
        codes = own_codes(generator, count)
        self.codes, self.styles = OwnCodes.from_codes(codes), OwnStyles.of(generator, codes)

    def measure(self, latent: Tensor) -> dict[str, list[float]]:
        """Both distances of latents [B, L, D], that in W as the mean over rows: name -> one number a code."""
        from_w = self.codes.distance(latent).mean(1)
        return {"from_w": from_w.tolist(), "nscd": self.styles.distance(self.generator, latent).tolist()}

    def of_own(self, count: int = 2000) -> dict[str, float]:
        """What own codes that the distances were not made from have: the mean of each."""
        codes = own_codes(self.generator, count, seed=1)
        found = self.measure(codes[:, None].expand(-1, self.generator.config.latent_rows, -1))
        return {name: sum(values) / count for name, values in found.items()}
