"""What edits cost: ten of a photo beside its inversion, and a long video's memory. Run through scripts/benchmark.py.

Times are processor time, so that they are the same on a machine that does other things too.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import sdic
from sdic.checkpoints import write_native
from sdic.commands.benchmark import full_size_inverter, in_new_process, peak_memory_mb
from sdic.direction import Direction
from sdic.fast import optimize_for_inference
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.stylegan2 import Generator, GeneratorConfig

EDITS, FRAMES, FEW = 10, 100, 10


def measure_editing(repeats: int) -> dict[str, Any]:
    """Ten edits against two inversions, at 1024 px (untrained, from a seed) and of portraits; memory of a video."""
    numbers: dict[str, Any] = {}
    models = {"1024": lambda: optimize_for_inference(full_size_inverter(), torch.device("cpu"))}
    models["portraits"] = lambda: sdic.load("portraits", "cpu")
    for name, made in models.items():
        numbers[name] = _compared(made(), repeats)
        ratio = numbers[name]["edits_seconds"] / numbers[name]["two_inversions_seconds"]
        numbers[name]["ratio"] = ratio
        print(f"{name}: {EDITS} edits take {ratio:.2f} of two inversions (processor time)")
    for count in (FEW, FRAMES):
        numbers[f"video_{count}_frames_peak_mb"] = peak = in_new_process(video_memory, count)
        print(f"a video of {count} frames at 1024 px, {count} edits of one photo: peak memory {peak:.0f} MB")
    return numbers


def _compared(inverter: Any, repeats: int) -> dict[str, float]:
    """Seconds of an inversion and of edits of it: a sweep in one call, and one by one."""
    torch.manual_seed(1)
    size = inverter.geometry.input_size
    photo = torch.tanh(F.interpolate(torch.randn(1, 3, 16, 16), size=size, mode="bicubic"))
    width = inverter.generator.config.style_dim
    directions = [Direction(F.normalize(torch.randn(width), dim=0)) for _ in range(EDITS)]
    inversion = inverter.invert(photo)
    strengths = torch.linspace(-3, 3, EDITS).tolist()
    return {
        "inversion_seconds": (one := _best(lambda: inverter.invert(photo), repeats)),
        "two_inversions_seconds": 2 * one,
        "edits_seconds": _best(lambda: [inverter.edit(inversion, direction, 2.0) for direction in directions], 1),
        "sweep_seconds": _best(lambda: inverter.edit(inversion, directions[0], strengths), 1),
    }


def _best(run: Callable[[], Any], repeats: int) -> float:
    best = float("inf")
    for _ in range(repeats):
        begin = time.process_time()
        run()
        best = min(best, time.process_time() - begin)
    return best


def video_memory(frames: int) -> float:
    """Peak memory, in MB, of `sdic edit` that draws so many edits of one code at 1024 px and makes a video of them.

    The generator is an untrained one of few channels: pictures and files are as large as any, and drawn quickly.
    """
    from sdic.runner.run import run
    from sdic.runner.settings import RunSettings

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(1024, 64, 2, channels=(8,) * 9))
        encoder = E4E(E4EConfig(18, 64, (1, 1, 2, 1), (16, 24, 32, 48), input_size=64))
        source = {"geometry": sdic.Geometry(1024, (64, 64)).to_text()}
        write_native(f"{folder}/thin.safetensors", {"generator": generator, "encoder": encoder}, source)
        np.save(f"{folder}/code.npy", generator.mean_latent(100).expand(18, -1).numpy())
        settings = RunSettings(
            inputs=[f"{folder}/code.npy"],
            out=f"{folder}/out",
            model=f"{folder}/thin.safetensors",
            edits=[f"pc0=-2:2:{frames}"],
            look="mp4",
            device="cpu",
            sheet_rows=0,
        )
        if run(settings, "edit") or not list(Path(folder).glob("out/look/*/code.mp4")):
            raise SystemExit("the run of the video failed")
    return peak_memory_mb()
