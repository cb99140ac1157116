"""Timing of a full-size training step: the trainer's against the straightforward loop, and each measure's share.

Both sides compute the same loss on the same batch (random weights, the networks of the paper: LPIPS and ArcFace with
random weights too, which costs what trained ones cost) and the gradients of what is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.commands.benchmark import best_of, full_size_inverter
from sdic.fast import accelerate
from sdic.losses.joint import JointLoss, LossWeights
from sdic.losses.perceptual import random_lpips
from sdic.networks.identity import FaceEmbedder
from sdic.networks.layers import shrink
from sdic.ops import use_reference
from sdic.types import GeneratorState
from sdic.utils.tensors import resolve_device

TOLERANCE = 1e-3  # of the loss; both sides add up in another order
AUTHORS_SECONDS = 0.443  # a step at batch 2 in the authors' own log


def measure_training(device_name: str, batch_size: int, repeats: int) -> dict[str, Any]:
    """Seconds a step of the reference and of the trainer: fast operations, then with the cache, then in bf16."""
    device = resolve_device(device_name, one_size=True)
    model: Any = full_size_inverter().to(device)
    accelerate(model.generator)
    parameters = [p for role in model.trains for p in getattr(model, role).requires_grad_(True).parameters()]
    joint = JointLoss(LossWeights(), random_lpips(), FaceEmbedder("arcface").eval().requires_grad_(False)).to(device)
    torch.manual_seed(1)
    photo = torch.tanh(F.interpolate(torch.randn(batch_size, 3, 16, 16), size=(256, 256), mode="bicubic")).to(device)
    stored = model.frozen_pass(photo)

    def cached(precision: str) -> dict[str, Tensor]:
        # What the cache has on disk is the code and the first reconstruction; the feature is computed again.
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            frozen = model.frozen_pass(photo, {name: stored[name] for name in model.stored})
            inversion = model._invert(photo, frozen)
            output = model.geometry.at_input_size(inversion.image)
        return joint.of(photo, output.float(), inversion.to(photo))

    sides: dict[str, Callable[[], dict[str, Tensor]]] = {
        "reference": lambda: reference_step(model, joint, photo),
        "fast": lambda: training_step(model, joint, photo),
        "fast_cache": lambda: cached("fp32"),
    }
    if device.type == "cuda":
        sides["fast_cache_bf16"] = lambda: cached("bf16")
    numbers: dict[str, Any] = {"batch_size": batch_size}
    expected: dict[str, float] = {}
    for name, run in sides.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

        def step(run: Callable[[], dict[str, Tensor]] = run) -> dict[str, float]:
            outputs = run()
            outputs["loss"].backward()
            for parameter in [*parameters, *model.generator.parameters()]:
                parameter.grad = None
            return {name: value.item() for name, value in outputs.items()}  # waits for the device

        terms, seconds = best_of(step, 1 if name == "reference" else repeats)
        numbers[f"{name}_seconds_per_step"] = seconds
        numbers[f"{name}_images_per_second"] = batch_size / seconds
        expected = expected or terms
        if "bf16" not in name and abs(terms["loss"] - expected["loss"]) > TOLERANCE * abs(expected["loss"]):
            raise SystemExit(f"{name}: loss {terms['loss']:.6f}, the reference {expected['loss']:.6f}")
        line = f"{name:16s} {seconds:7.3f} s a step of {batch_size}   {batch_size / seconds:6.3f} images/s"
        line += f"   {numbers['reference_seconds_per_step'] / seconds:5.2f} x   loss {terms['loss']:.6f}"
        if device.type == "cuda":
            memory = torch.cuda.max_memory_allocated(device) / 2**20
            numbers[f"{name}_peak_memory_mb"] = memory
            line += f"   {memory:.0f} MB"
        print(line)
    reference, fast, both = (numbers[f"{name}_seconds_per_step"] for name in ("reference", "fast", "fast_cache"))
    numbers["training_ratio"] = reference / both
    numbers["share_fast_operations"] = (reference - fast) / (reference - both)
    numbers["share_cache"] = (fast - both) / (reference - both)
    print(
        f"{reference / both:.2f} times the images per second; of the time saved, "
        f"{numbers['share_fast_operations']:.0%} by fast operations and skipped gradients, "
        f"{numbers['share_cache']:.0%} by the cache"
    )
    if device.type == "cuda":
        print(f"the authors' log: {AUTHORS_SECONDS} s a step at batch 2 on their GPU")
    return numbers


def training_step(inverter: Any, joint: JointLoss, photo: Tensor) -> dict[str, Tensor]:
    """The loss terms of photos [B, 3, H, W] by SDIC's own forward pass, as `training.tasks.inverter` computes them."""
    inversion = inverter._invert(photo)
    return joint.of(photo, inverter.geometry.at_input_size(inversion.image), inversion)


def reference_step(inverter: Any, joint: JointLoss, photo: Tensor) -> dict[str, Tensor]:
    """The same by the straightforward loop, to compare with: reference operations, no cache, no shortcut, and a
    generator whose weights gather gradients that nobody reads, as in the authors' code."""
    synthesis, geometry = inverter.generator.synthesis, inverter.geometry
    layer, noise = inverter.layer, inverter.noise
    inverter.generator.requires_grad_(True)
    try:
        with use_reference():
            with torch.no_grad():
                latent = inverter.encoder(photo)
                state = synthesis.until(layer, latent, noise=noise)
                picture = geometry.visible(synthesis(latent, state, noise)).clamp(-1, 1)
            enhanced = inverter.compensator(photo, shrink(picture, geometry.input_size), latent, state.feature)
            below = synthesis.until(layer, enhanced.latent, noise=noise)
            image = synthesis(enhanced.latent, GeneratorState(layer, enhanced.feature, below.rgb), noise)
            output = geometry.at_input_size(image)
            return joint(photo, output, latent, enhanced.latent, state.feature, enhanced.feature)
    finally:
        # The graph has recorded by now that the weights want a gradient; only the flag is taken back.
        inverter.generator.requires_grad_(False)
