"""Seconds a step of tuning a generator for one photo, by our operations and by the reference ones."""

from __future__ import annotations

import time
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from sdic.checkpoints import Bundle
from sdic.losses.perceptual import random_lpips
from sdic.methods import METHODS, build_inverter
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.ops import use_reference
from sdic.types import Geometry

TOLERANCE = 1e-2  # of the pictures after the steps, in standard deviations: Adam makes rounding larger


def measure_tuning(steps: int, resolution: int = 1024) -> dict[str, Any]:
    """The same photo, weights and number of steps on both sides, on a CPU; LPIPS with random weights takes the time of
    the real one. Times are the fastest step's, of the clock and of the processor, which others may share."""
    kind = next(kind for kind in METHODS.values() if kind.looks_through and not kind.gives_code)
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(resolution))
    for conv in generator.synthesis.convs:
        nn.init.constant_(conv.noise_strength, 0.05)
    bundle = Bundle({"generator": generator.eval().requires_grad_(False), "perceptual": random_lpips()})
    geometry = Geometry(resolution, (min(256, resolution),) * 2)
    inverter = build_inverter(kind.method, bundle, geometry, steps=steps + 1, pivot_steps=0, stop=0.0)
    photo = torch.tanh(F.interpolate(torch.randn(1, 3, 16, 16), size=(resolution, resolution), mode="bicubic"))
    numbers, images = {}, {}
    for side, context in (("fast", nullcontext()), ("reference", use_reference())):
        clock: list[tuple[float, float]] = []
        inverter.watch = lambda *_, clock=clock: clock.append((time.perf_counter(), time.process_time()))
        with context:
            images[side] = inverter.invert(photo).image
        for place, what in enumerate(("seconds", "cpu_seconds")):
            spent = [after[place] - before[place] for before, after in pairwise(clock)]
            numbers[f"tuning_{side}_{what}"] = min(spent)
        print(
            f"a step of tuning at {resolution} px, {side}: {numbers[f'tuning_{side}_seconds']:.2f} s, "
            f"{numbers[f'tuning_{side}_cpu_seconds']:.2f} s of the processor"
        )
    ratio = numbers["tuning_reference_cpu_seconds"] / numbers["tuning_fast_cpu_seconds"]
    difference = ((images["fast"] - images["reference"]).abs().max() / images["reference"].std()).item()
    print(f"ratio {ratio:.2f}, largest difference of the pictures after {steps + 1} steps {difference:.1e} std")
    if not difference < TOLERANCE:
        raise SystemExit(f"tuning: the two sides differ by {difference:.1e} std, more than {TOLERANCE}")
    return {**numbers, "tuning_ratio": ratio, "tuning_difference": difference, "resolution": resolution}
