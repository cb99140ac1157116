"""One training step: the frozen first pass, the compensated second pass, the loss.

Shapes: B batch, H and W input size, L latent rows, D style width, C/h the compensated feature, R output size.

What carries a gradient. DIPN and DICN make w' and F'. Above the compensated layer the generator's activations and
styles carry one (towards F' and w'). Below it only the RGB branch is computed, and it does carry one: that picture is
rendered from w', through the features that feed it. What nothing receives is not computed: no gradient for a frozen
weight anywhere, none at all in the first pass, and not the convolution of layer k itself, whose output F' replaces.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sdic.data.dataset import Batch
from sdic.losses.joint import JointLoss
from sdic.methods.sdic import first_reconstruction
from sdic.networks.compensator import Compensated
from sdic.networks.stylegan2 import Noise, Synthesis, shrink
from sdic.ops import use_reference
from sdic.training.stack import Stack
from sdic.types import GeneratorState

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class FirstPass(NamedTuple):
    """latent: e4e's code w [B, L, D]. feature: G_k(w) [B, C, h, h]. initial: R_o [B, 3, H, W], clamped."""

    latent: Tensor
    feature: Tensor
    initial: Tensor


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The networks' arithmetic; nothing for "fp32"."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, DTYPES[precision])


@torch.no_grad()
def first_pass(
    stack: Stack, photo: Tensor, noise: Noise = "fixed", latent: Tensor | None = None, initial: Tensor | None = None
) -> FirstPass:
    """Photo [B, 3, H, W] -> what the frozen networks make of it. `latent` and `initial` are not computed if given.

    On a CPU photos go through one by one: as fast as a batch there, and the same numbers whatever the batch.
    """
    parts = []
    for rows in torch.arange(len(photo)).split(1 if photo.device.type == "cpu" else len(photo)):
        part = slice(int(rows[0]), int(rows[-1]) + 1)
        code = stack.encoder(photo[part]).to(photo) if latent is None else latent[part]
        if initial is None:
            feature, picture = first_reconstruction(stack.generator.synthesis, code, stack.layer, stack.geometry, noise)
        else:
            feature, picture = stack.generator.synthesis.until(stack.layer, code, noise=noise).feature, initial[part]
        parts.append((code, feature, picture))
    return FirstPass(*(torch.cat(column).to(photo) for column in zip(*parts, strict=True)))


def second_pass(
    synthesis: Synthesis, enhanced: Compensated, layer: int, noise: Noise = "fixed", recompute: bool = False
) -> Tensor:
    """G resumed at `layer` from F', all rows and the RGB below it from w': [B, 3, R, R], not clamped.

    `recompute` keeps only the states between resolutions and computes the rest again in the backward pass.
    """
    rgb = synthesis.rgb_below(layer, enhanced.latent, noise)
    state = GeneratorState(layer, enhanced.feature, rgb)
    last = synthesis.config.layers - 1
    while recompute and state.layer < last:
        state = _recomputed(synthesis, min(state.layer + 2, last), enhanced.latent, state, noise)
    return synthesis(enhanced.latent, state, noise=noise)


def _recomputed(synthesis: Synthesis, stop: int, latent: Tensor, state: GeneratorState, noise: Noise) -> GeneratorState:
    def run(latent: Tensor, feature: Tensor, rgb: Tensor | None) -> tuple[Tensor, Tensor | None]:
        after = synthesis.until(stop, latent, GeneratorState(state.layer, feature, rgb), noise)
        return after.feature, after.rgb

    feature, rgb = checkpoint(run, latent, state.feature, state.rgb, use_reentrant=False)
    return GeneratorState(stop, feature, rgb)


def joint_terms(
    loss: JointLoss, photo: Tensor, output: Tensor, first: FirstPass, enhanced: Compensated
) -> dict[str, Tensor]:
    """The loss in the photo's float32, whatever the networks ran in. output: [B, 3, H, W]."""
    with torch.autocast(photo.device.type, enabled=False):
        latent, feature = enhanced.latent.to(photo), enhanced.feature.to(photo)
        return loss(photo, output.to(photo), first.latent, latent, first.feature, feature)


def training_step(
    stack: Stack,
    compensator: nn.Module,
    loss: JointLoss,
    batch: Batch,
    noise: Noise = "fixed",
    precision: str = "fp32",
    recompute: bool = False,
    first: FirstPass | None = None,
) -> dict[str, Tensor]:
    """Loss terms (scalars with a gradient towards the compensator) of a batch whose photos are on the device.

    compensator: `stack.compensator`, or DDP around it. first: the first pass, if somebody has it already (a cache).
    """
    with autocast(batch.photo.device, precision):
        if first is None:
            first = first_pass(stack, batch.photo, noise)
        enhanced = compensator(batch.photo, first.initial, first.latent, first.feature)
        image = second_pass(stack.generator.synthesis, enhanced, stack.layer, noise, recompute)
        output = stack.geometry.at_input_size(image)
    return joint_terms(loss, batch.photo, output, first, enhanced)


def reference_step(
    stack: Stack, compensator: nn.Module, loss: JointLoss, batch: Batch, noise: Noise = "fixed"
) -> dict[str, Tensor]:
    """The same loss by the straightforward loop, to compare with: reference operations, no cache, no shortcut, and a
    generator whose weights gather gradients that nobody reads, as in the authors' code."""
    synthesis, geometry, layer = stack.generator.synthesis, stack.geometry, stack.layer
    stack.generator.requires_grad_(True)
    try:
        with use_reference():
            with torch.no_grad():
                latent = stack.encoder(batch.photo)
                state = synthesis.until(layer, latent, noise=noise)
                picture = geometry.visible(synthesis(latent, state, noise)).clamp(-1, 1)
                first = FirstPass(latent, state.feature, shrink(picture, geometry.input_size))
            enhanced = compensator(batch.photo, first.initial, first.latent, first.feature)
            below = synthesis.until(layer, enhanced.latent, noise=noise)
            image = synthesis(enhanced.latent, GeneratorState(layer, enhanced.feature, below.rgb), noise)
            return joint_terms(loss, batch.photo, geometry.at_input_size(image), first, enhanced)
    finally:
        # The graph has recorded by now that the weights want a gradient; only the flag is taken back.
        stack.generator.requires_grad_(False)
