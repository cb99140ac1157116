"""How an edit moves what was compensated: along with the motion that it makes in the generator itself.

The paper's eq. 6 reads F'_E = G_k(w + edit) + (F' - G_k(w)): the bracket, what was compensated, stays at its place, and
where a head turns, ghosts remain. Here the bracket is carried along. Cells of the generator's own features before and
after the edit are matched. A match that does not lead back to where it started says that the place has come into view:
nothing is known about it, and the generator's own feature stands there. No training; any generator.

Shapes: B batch, L latent rows, D style width, C/h the compensated feature, S cells a side.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.changes import Noise
from sdic.networks.stylegan2 import Synthesis
from sdic.ops.matching import match, move_along, smooth
from sdic.types import GeneratorState, Inversion

# Chosen on 24 portraits of the validation split (docs/evaluation.md); lengths are in cells.
CELLS = 32
LAYERS = (3, 5)  # what is matched: features of 16 and 32 px. Coarser ones are vague, finer ones are dear at 1024 px
WINDOW = 8  # how far a cell may move: a quarter of the picture
SOFTNESS, STAY = 0.02, 0.05  # of a match, and its bonus for not moving, which keeps flat regions in place
SMOOTHING = 1.0
AGREEMENT = 0.7  # a match that comes back this far from where it started is half trusted: exp(-1/2)
STILL, MOVING = 0.07, 0.14  # mean motion: up to the first an edit is eq. 6, as of age; from the second on all is moved
SIGNATURE = "signature"
"""Under this name in an inversion's `extras`: what its places look like to the generator, shared by all its edits."""


def signature(synthesis: Synthesis, latent: Tensor, noise: Noise, layer: int | None = None) -> tuple[Tensor, Tensor]:
    """(what each place looks like to the generator [B, C', S, S], the feature after `layer` [B, C, h, h]).

    Without a layer, the feature is the last that is matched.
    """
    matched = [k for k in LAYERS if k < synthesis.config.layers] or [synthesis.config.layers - 1]
    state: GeneratorState | None = None
    parts, feature = [], None
    layer = matched[-1] if layer is None else layer
    for stop in sorted({*matched, layer}):
        state = synthesis.until(stop, latent, state, noise)
        feature = state.feature if stop == layer else feature
        if stop in matched:
            parts.append(_cells(state.feature))
    assert feature is not None
    return torch.cat(parts, 1), feature


def with_signature(synthesis: Synthesis, inversion: Inversion, noise: Noise) -> Inversion:
    """The inversion with what all its edits share, the signature before them; without a feature as it is."""
    if inversion.feature is None:
        return inversion
    codes = inversion.base_latent.split(1)  # one by one: the same numbers whatever the batch
    found = torch.cat([signature(synthesis, code, noise)[0] for code in codes])
    return replace(inversion, extras={**inversion.extras, SIGNATURE: found})


def _cells(feature: Tensor) -> Tensor:
    """A feature on the grid of cells, every channel of mean 0 and about variance 1 / C: what changes everywhere alike
    is no motion."""
    x = F.interpolate(feature.float(), size=(CELLS, CELLS), mode="bilinear", align_corners=False)
    x = x - x.mean((2, 3), keepdim=True)
    return x / (x.std((2, 3), keepdim=True) + 0.1 * x.std((1, 2, 3), keepdim=True)) / x.shape[1] ** 0.5


def motion(after: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """Signatures [B, C', S, S] after an edit and [B or 1, C', S, S] before it -> (flow, confidence).

    flow [B, 2, S, S] in cells: from each place after the edit to where its content was.
    confidence [B, 1, S, S]: from 0 (has come into view) to 1.
    """
    with torch.autocast(after.device.type, enabled=False):
        before = before.expand_as(after)
        there = match(after, before, WINDOW, SOFTNESS, STAY)
        back = match(before, after, WINDOW, SOFTNESS, STAY)
        flow, back = _smoothed(there, back), _smoothed(back, there)
        confidence = smooth(_agreement(flow, back, AGREEMENT), AGREEMENT)
        size = flow.square().sum(1, keepdim=True).mean((2, 3), keepdim=True).sqrt()
        moving = ((size - STILL) / (MOVING - STILL)).clamp(0, 1)
        return flow * moving, 1 - moving * (1 - confidence)


def _agreement(there: Tensor, back: Tensor, scale: float) -> Tensor:
    """exp(-d^2 / 2 scale^2) with the distance d at which going there and back ends from the start: [B, 1, S, S]."""
    distance = (there + move_along(back, there)).square().sum(1, keepdim=True)
    return torch.exp(-distance / (2 * scale**2))


def _smoothed(there: Tensor, back: Tensor) -> Tensor:
    """A flow, smoothed with the weights of its agreement: what is trusted fills what is not."""
    weight = _agreement(there, back, 1.0) + 0.05
    return smooth(there * weight, SMOOTHING) / smooth(weight, SMOOTHING)


def carried(synthesis: Synthesis, inversion: Inversion, shift: Tensor, noise: Noise) -> Tensor:
    """F'_E [B, C, h, h]: the generator's own feature G_k(w + shift), and the compensation F' - G_k(w) moved along.

    inversion: with a feature and `extras["base_feature"]`; shift [B, L, D]. An edit that moves nothing is eq. 6.
    """
    assert inversion.feature is not None
    before = inversion.extras.get(SIGNATURE)
    if before is None:
        before, _ = signature(synthesis, inversion.base_latent, noise)
    after, feature = signature(synthesis, inversion.base_latent + shift, noise, inversion.layer)
    base = inversion.extras["base_feature"]
    flow, confidence = motion(after, before)
    compensation = (inversion.feature - base).float()
    known = F.interpolate(confidence, size=feature.shape[2:], mode="bilinear", align_corners=False)
    moved = feature + move_along(compensation, flow) * known
    moves = (flow != 0).flatten(1).any(1)[:, None, None, None]
    return torch.where(moves, moved, inversion.feature + (feature - base))
