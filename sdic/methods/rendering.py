"""Small parts of rendering and editing that `Inverter` uses. B batch."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sdic.changes import Noise
from sdic.networks.stylegan2 import Synthesis
from sdic.types import GeneratorState


def fitted(photo: Tensor, size: tuple[int, int]) -> Tensor:
    """Photos [B, 3, H', W'] in [-1, 1] at another size (H, W): antialiased, as PIL reduces a picture."""
    if tuple(photo.shape[2:]) == size:
        return photo
    return F.interpolate(photo, size=size, mode="bilinear", antialias=True).clamp(-1, 1)


def recomputed(synthesis: Synthesis, stop: int, latent: Tensor, state: GeneratorState, noise: Noise) -> GeneratorState:
    """The state after layer `stop`, computed once more in the backward pass instead of kept for it."""

    def run(latent: Tensor, feature: Tensor, rgb: Tensor | None) -> tuple[Tensor, Tensor | None]:
        after = synthesis.until(stop, latent, GeneratorState(state.layer, feature, rgb), noise)
        return after.feature, after.rgb

    feature, rgb = checkpoint(run, latent, state.feature, state.rgb, use_reentrant=False)
    return GeneratorState(stop, feature, rgb)
