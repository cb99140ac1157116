"""Timing of the fast paths against the plain reference. Run through scripts/benchmark.py."""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import platform
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import sdic
from sdic.checkpoints import Bundle, write_native
from sdic.direction import Direction
from sdic.domains import DOMAINS
from sdic.fast import optimize_for_inference
from sdic.methods import METHODS, build_inverter
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.ops import use_reference
from sdic.utils.files import write_atomic
from sdic.utils.tensors import resolve_device

TOLERANCE = 1e-4  # largest difference of the two sides, in standard deviations of the output


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print, write JSON."""
    parser = argparse.ArgumentParser(description="Time sdic's fast paths against the plain reference.")
    parser.add_argument("what", nargs="?", default="invert", choices=("invert", "edit", "train", "tune"))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads; default: as torch chooses")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=None, help="train: 2; invert on CUDA: 8")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.what == "train":
        from sdic.commands.benchmark_training import measure_training

        numbers = measure_training(args.device, args.batch_size or 2, args.repeats)
    elif args.what == "tune":
        from sdic.commands.benchmark_tuning import measure_tuning

        numbers = measure_tuning(args.repeats)
    elif args.what == "edit":
        from sdic.commands.benchmark_editing import measure_editing

        numbers = measure_editing(args.repeats)
    elif args.device.startswith("cuda"):
        numbers = measure_cuda(args.device, args.batch_size or 8, args.repeats)
    else:
        numbers = measure_cpu(args.repeats)
    numbers = {"machine": platform.machine(), "torch": torch.__version__, "threads": torch.get_num_threads(), **numbers}
    if args.json:
        write_atomic(args.json, json.dumps(numbers, indent=2) + "\n")
    return 0


def full_size_inverter(seed: int = 0) -> Any:
    """The first method that trains, at 1024 px, with random weights whose statistics keep every stage finite; not
    optimised."""
    torch.manual_seed(seed)
    kind = next(kind for kind in METHODS.values() if kind.trains)
    generator, geometry = Generator(GeneratorConfig(1024)), DOMAINS["face"].geometry
    networks: dict[str, nn.Module] = {"generator": generator, "encoder": E4E(E4EConfig())}
    networks |= kind.trainable(kind.Settings(**kind.released), generator, geometry)
    for module in [part for network in networks.values() for part in network.modules()]:
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            nn.init.normal_(module.weight, 0.75, 0.1)
            nn.init.normal_(module.running_mean, 0.0, 0.05)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.6, 1.4)  # type: ignore[arg-type]
    for conv in generator.synthesis.convs:
        nn.init.constant_(conv.noise_strength, 0.05)
    return build_inverter(kind.method, Bundle(networks), geometry)


def measure_cpu(repeats: int) -> dict[str, Any]:
    """Generator, inversion and editing at batch 1, float32: both sides and their ratios."""
    numbers = {"peak_memory_mb": in_new_process(measure_memory)}
    print(f"peak memory of a process that loads the model and inverts one photo: {numbers['peak_memory_mb']:.0f} MB")
    plain = full_size_inverter()
    _ = plain.fingerprint
    fast: Any = optimize_for_inference(copy.deepcopy(plain), torch.device("cpu"))
    torch.manual_seed(1)
    photo = torch.tanh(F.interpolate(torch.randn(1, 3, 16, 16), size=(256, 256), mode="bicubic"))
    direction = Direction(F.normalize(torch.randn(512), dim=0))
    numbers["convolution_gflops"] = convolution_rate(repeats)
    print(f"512-channel 3x3 convolution at 64x64: {numbers['convolution_gflops']:.0f} GFLOP/s")
    with torch.no_grad():
        latent = fast.encoder(photo)
        numbers["inversion_gflop"] = inversion_gflop(plain, photo)

        def compare(name: str, slow: Callable[[], Tensor], quick: Callable[[], Tensor]) -> None:
            with use_reference():
                expected, slow_seconds = best_of(slow, max(2, repeats // 2))
            got, seconds = best_of(quick, repeats)
            difference = ((got - expected).abs().max() / expected.std()).item()
            ratio = slow_seconds / seconds
            numbers.update({f"{name}_reference_seconds": slow_seconds, f"{name}_seconds": seconds})
            numbers.update({f"{name}_ratio": ratio, f"{name}_difference": difference})
            print(
                f"{name:10s} reference {slow_seconds:6.2f} s   fast {seconds:6.3f} s   "
                f"ratio {ratio:5.2f}   largest difference {difference:.1e} std"
            )
            if not difference < TOLERANCE:
                raise SystemExit(f"{name}: the two sides differ by {difference:.1e} std, more than {TOLERANCE}")

        compare("generator", lambda: plain.generator.synthesis(latent), lambda: fast.generator.synthesis(latent))
        compare("inversion", lambda: plain.invert(photo).image, lambda: fast.invert(photo).image)
        inversion = fast.invert(photo)
        compare("edit", lambda: plain.edit(inversion, direction, 2.0), lambda: fast.edit(inversion, direction, 2.0))
    rate = numbers["inversion_gflop"] / numbers["inversion_seconds"]
    numbers["inversion_gflops"] = rate
    numbers["inversion_fraction_of_peak"] = rate / numbers["convolution_gflops"]
    numbers["edit_fraction_of_inversion"] = numbers["edit_seconds"] / numbers["inversion_seconds"]
    print(
        f"inversion: {numbers['inversion_gflop']:.0f} GFLOP of the reference, {rate:.0f} GFLOP/s, "
        f"{numbers['inversion_fraction_of_peak']:.0%} of the convolution's rate"
    )
    print(f"an edit of an inverted photo takes {numbers['edit_fraction_of_inversion']:.2f} of an inversion")
    return numbers


def in_new_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own, whose memory begins at nothing."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure_memory() -> float:
    """Peak resident memory, in MB, of this process after it has loaded a model from a file and inverted one photo."""
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/full.safetensors"
        in_new_process(_write_model, file)  # its memory is not counted
        sdic.load(file, "cpu").invert(torch.rand(1, 3, 256, 256) * 2 - 1)
    return peak_memory_mb()


def _write_model(file: str) -> None:
    model = full_size_inverter()
    source = {"geometry": model.geometry.to_text(), **model.header()}
    write_native(file, {role: getattr(model, role) for role in model.networks}, source)


def peak_memory_mb() -> float:
    """Peak resident memory of this process in MB (Linux: since exec; ru_maxrss would begin at the parent's)."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_cuda(device_name: str, batch: int, repeats: int) -> dict[str, Any]:
    """Images per second of inversion on a GPU, fp32 and bf16."""
    device = resolve_device(device_name)
    plain = full_size_inverter().to(device)
    fast: Any = optimize_for_inference(copy.deepcopy(plain), device)
    photos = torch.rand(batch, 3, 256, 256, device=device) * 2 - 1
    numbers: dict[str, Any] = {"device": torch.cuda.get_device_name(device), "batch_size": batch}
    for precision in ("fp32", "bf16"):
        plain.precision = fast.precision = precision
        for name, inverter in (("reference", plain), ("fast", fast)):
            torch.cuda.reset_peak_memory_stats(device)

            def run(inverter: Any = inverter) -> None:
                inverter.invert(photos)
                torch.cuda.synchronize(device)

            with use_reference() if name == "reference" else contextlib.nullcontext():
                _, seconds = best_of(run, repeats)
            memory = torch.cuda.max_memory_allocated(device) / 2**20
            numbers[f"{name}_{precision}_images_per_second"] = batch / seconds
            numbers[f"{name}_{precision}_peak_memory_mb"] = memory
            print(f"{name:9s} {precision}: {batch / seconds:7.1f} images/s, peak memory {memory:.0f} MB")
    return numbers


def convolution_rate(repeats: int) -> float:
    """GFLOP/s of a 512-channel 3x3 convolution at 64x64, batch 1, float32, in the faster memory layout."""
    best = 0.0
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(1, 512, 64, 64).contiguous(memory_format=layout)
        weight = torch.randn(512, 512, 3, 3).contiguous(memory_format=layout)
        _, seconds = best_of(lambda x=x, weight=weight: F.conv2d(x, weight, padding=1), 4 * repeats)  # type: ignore[misc]
        best = max(best, 2 * 512 * 512 * 9 * 64 * 64 / seconds / 1e9)
    return best


def inversion_gflop(inverter: Any, photo: Any) -> float:
    """GFLOP of one inversion by the reference operations: convolutions and matrix products."""
    with use_reference(), FlopCounterMode(display=False) as counter:
        inverter.invert(photo)
    return counter.get_total_flops() / 1e9


def best_of(run: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """(result, seconds of the fastest of `repeats` runs after one warm-up)."""
    result = run()
    best = float("inf")
    for _ in range(repeats):
        begin = time.perf_counter()
        result = run()
        best = min(best, time.perf_counter() - begin)
    return result, best
