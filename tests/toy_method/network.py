"""The toy's network: a correction of a code."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from sdic.checkpoints import NETWORKS, NetworkKind


@dataclass(frozen=True)
class CorrectionConfig:
    """width: of a code's rows."""

    width: int = 64


class Correction(nn.Module):
    """Codes [B, L, D] -> what to add to them."""

    def __init__(self, config: CorrectionConfig):
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.width, config.width)

    def forward(self, latent: Tensor) -> Tensor:
        return self.linear(latent)


NETWORKS["correction"] = NetworkKind(Correction, CorrectionConfig, Correction)
