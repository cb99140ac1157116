"""Timing of a full-size training step: the trainer's against the straightforward loop, and each measure's share.

Both sides compute the same loss on the same batch (random weights, the networks of the paper: LPIPS and ArcFace with
random weights too, which costs what trained ones cost) and the gradients of DIPN and DICN.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.commands.benchmark import full_size_inverter
from sdic.data.dataset import Batch
from sdic.fast import accelerate
from sdic.losses.joint import JointLoss, LossWeights
from sdic.losses.perceptual import random_lpips
from sdic.networks.identity import FaceEmbedder
from sdic.training.stack import Stack
from sdic.training.step import first_pass, reference_step, training_step

TOLERANCE = 1e-3  # of the loss; both sides add up in another order
AUTHORS_SECONDS = 0.443  # a step at batch 2 in the authors' own log


def measure_training(device_name: str, batch_size: int, repeats: int) -> dict[str, Any]:
    """Seconds a step of the reference and of the trainer: fast operations, then with the cache, then in bf16."""
    device = torch.device(device_name)
    model = full_size_inverter()
    accelerate(model.generator)
    compensator = model.compensator.requires_grad_(True).eval().to(device)
    stack = Stack(model.generator, model.encoder, compensator, model.geometry, model.layer, {}, {}).to(device)
    loss = JointLoss(LossWeights(), random_lpips(), FaceEmbedder("arcface").eval().requires_grad_(False)).to(device)
    torch.manual_seed(1)
    photo = torch.tanh(F.interpolate(torch.randn(batch_size, 3, 16, 16), size=(256, 256), mode="bicubic")).to(device)
    batch = Batch(photo, [f"{index}" for index in range(batch_size)])
    stored = first_pass(stack, photo)

    def cached(precision: str) -> dict[str, Tensor]:
        # What the cache has on disk is the code and the first reconstruction; the feature is computed again.
        first = first_pass(stack, photo, latent=stored.latent, initial=stored.initial)
        return training_step(stack, compensator, loss, batch, precision=precision, first=first)

    sides: dict[str, Callable[[], dict[str, Tensor]]] = {
        "reference": lambda: reference_step(stack, compensator, loss, batch),
        "fast": lambda: training_step(stack, compensator, loss, batch),
        "fast_cache": lambda: cached("fp32"),
    }
    if device.type == "cuda":
        sides["fast_cache_bf16"] = lambda: cached("bf16")
    numbers: dict[str, Any] = {"batch_size": batch_size}
    expected: dict[str, float] = {}
    for name, run in sides.items():
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        terms, seconds = _best(
            run, list(compensator.parameters()), stack.generator, 1 if name == "reference" else repeats
        )
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


def _best(
    run: Callable[[], dict[str, Tensor]], parameters: list[Tensor], generator: torch.nn.Module, repeats: int
) -> tuple[dict[str, float], float]:
    """(loss terms, seconds of the fastest forward and backward pass after one warm-up)."""
    best, terms = float("inf"), {}
    for attempt in range(repeats + 1):
        begin = time.perf_counter()
        outputs = run()
        outputs["loss"].backward()
        terms = {name: value.item() for name, value in outputs.items()}  # waits for the device
        if attempt or repeats == 0:
            best = min(best, time.perf_counter() - begin)
        for parameter in [*parameters, *generator.parameters()]:
            parameter.grad = None
    return terms, best
