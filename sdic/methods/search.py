"""Search for the code of one photo: NVIDIA's projector, as PTI uses it, and Image2StyleGAN++'s search in W+.

Shapes: L latent rows, D style width, h and w of a noise map; N rows that are searched, 1 (space W) or L (W+).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sdic.errors import ConfigError
from sdic.methods.progress import Watch, nothing
from sdic.networks.stylegan2 import Generator, Synthesis
from sdic.types import Geometry

Draw = Callable[[Sequence[int]], Tensor]
"""A shape -> standard normal numbers of that shape."""
Perceptual = Callable[[Tensor, Tensor], Tensor]
"""(photo, output), both [1, 3, H, W] -> their distance [1]."""
PERCEPTUAL = (
    "the network of the perceptual distance: a model or file; none is the domain's own, `none` no such term, and "
    "`random` an untrained one"
)
SAMPLES, SAMPLES_SEED = 600, 123  # of the mapping network, for the mean and the spread of W
NOISE_PENALTY = 1e5
SMALLEST_MAP = 8  # px at which the penalty on a noise map ends


@dataclass(frozen=True)
class Search:
    """How a code is searched.

    steps: of Adam. rate: its highest learning rate; see `ramp`.
    l2, lpips: weights of the squared error and of the perceptual distance (0: it is not computed).
    maps: search the noise maps too, kept free of any pattern by `noise_penalty`.
    jitter: noise on the code, in units of the spread of W, which falls to 0 in three quarters of the steps.
    stop: end at this perceptual distance, 0 for never. patience: end after so many steps without a lower loss, 0 for
    never.
    """

    steps: int
    rate: float
    l2: float = 0.0
    lpips: float = 1.0
    maps: bool = True
    jitter: float = 0.05
    stop: float = 0.0
    patience: int = 0


@dataclass
class Found:
    """code: [1, N, D]. maps: by layer, [1, 1, h, w], empty where the generator's own are used. losses: of each step,
    before it."""

    code: Tensor
    maps: dict[int, Tensor]
    losses: list[float] = field(default_factory=list)


@contextmanager
def optimising(device: torch.device) -> Iterator[None]:
    """Where Adam works: with gradients, and in float32 whatever the networks compute in."""
    with torch.enable_grad(), torch.autocast(device.type, enabled=False):
        yield


def seeded(seed: int, device: torch.device) -> Draw:
    """The same numbers for every photo, on every device."""
    source = torch.Generator().manual_seed(seed)
    return lambda shape: torch.randn(*shape, generator=source).to(device)


@torch.no_grad()
def spread_of_w(generator: Generator) -> tuple[Tensor, float]:
    """The mean [1, 1, D] of w over 600 samples, and the root of the mean squared distance from it (over all channels
    together: about sqrt(D) times one channel's)."""
    z = np.random.RandomState(SAMPLES_SEED).randn(SAMPLES, generator.config.style_dim)
    with torch.autocast(generator.latent_avg.device.type, enabled=False):
        w = generator.mapping(torch.from_numpy(z).to(generator.latent_avg))
    mean = w.mean(0, keepdim=True)
    return mean[None], math.sqrt(float((w - mean).square().sum()) / SAMPLES)


def ramp(done: float) -> float:
    """The learning rate at a fraction of the steps: up in the first twentieth, down by a cosine in the last quarter.

    The very first step moves nothing.
    """
    down = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1 - done) / 0.25))
    return down * min(1.0, done / 0.05)


def code_noise(done: float) -> float:
    """The fraction of `jitter` at a fraction of the steps: (1 - done / 0.75)^2, then nothing."""
    return max(0.0, 1 - done / 0.75) ** 2


def noise_penalty(noise: Tensor) -> Tensor:
    """How much a map [1, 1, h, h] resembles itself moved by one pixel, at its size and all halves of it down to 8 px:
    the sum of mean(n * moved n)^2 over both axes and all sizes, which is 0 for white noise."""
    total = noise.new_zeros(())
    while True:
        for axis in (3, 2):
            total = total + (noise * noise.roll(1, axis)).mean().square()
        if noise.shape[2] <= SMALLEST_MAP:
            return total
        noise = F.avg_pool2d(noise, 2)


@torch.no_grad()
def as_written(synthesis: Synthesis) -> Synthesis:
    """A frozen copy that computes as the network is written. The rounding of its fast form grows through Adam: PTI's
    changes of the weights come out seven thousandths of their std away, instead of a third of a thousandth."""
    with torch.device("meta"):
        plain = Synthesis(synthesis.config)
    state = {name: value.clone(memory_format=torch.contiguous_format) for name, value in synthesis.state_dict().items()}
    plain.load_state_dict(state, assign=True)
    return plain.eval().requires_grad_(False)


def search_code(
    synthesis: Synthesis,
    start: Tensor,
    spread: float,
    compare: Callable[[Tensor], tuple[Tensor, Tensor]],
    how: Search,
    draw: Draw,
    watch: Watch = nothing,
) -> Found:
    """Adam from `start` [1, N, D]; the last code counts, as with NVIDIA.

    spread: of W, for the jitter. compare: the output [1, 3, R, R] -> (the weighted loss, the perceptual distance), both
    []. draw: gives the noise maps to start from, layer by layer, then each step's noise on the code.
    """
    rows, plain = synthesis.config.latent_rows, as_written(synthesis)
    with optimising(start.device):
        code = start.detach().float().clone().requires_grad_()
        shapes = [conv.noise.shape for conv in synthesis.convs] if how.maps else []
        maps = {layer: draw(shape).requires_grad_() for layer, shape in enumerate(shapes)}
        adam = torch.optim.Adam([code, *maps.values()], lr=how.rate, betas=(0.9, 0.999))
        found, best, since = Found(code.detach(), {}), math.inf, 0
        for step in range(how.steps):
            done = step / how.steps
            adam.param_groups[0]["lr"] = how.rate * ramp(done)
            noisy = code + draw(code.shape) * (spread * how.jitter * code_noise(done))
            image = plain(noisy.expand(-1, rows, -1), noise=maps or "fixed")
            loss, distance = compare(image)
            loss = loss + NOISE_PENALTY * sum((noise_penalty(noise) for noise in maps.values()), loss.new_zeros(()))
            found.losses.append(float(loss.detach()))
            since = 0 if found.losses[-1] < best else since + 1
            best = min(best, found.losses[-1])
            if (how.stop > 0 and float(distance) <= how.stop) or (how.patience and since >= how.patience):
                break
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            with torch.no_grad():
                for noise in maps.values():
                    noise -= noise.mean()
                    noise *= noise.square().mean().rsqrt()
            watch("code", step + 1, how.steps)
    found.maps = {layer: noise.detach() for layer, noise in maps.items()}
    return found


class Comparison:
    """An output of the generator against one photo [1, 3, H, W], at the input size of `geometry`.

    Called with [1, 3, R, R] it gives (l2 * mean squared error + lpips * distance, distance), both []. Without a weight
    there is no distance: it is infinite.
    """

    def __init__(self, photo: Tensor, geometry: Geometry, perceptual: Perceptual | None, l2: float, lpips: float):
        self.photo = F.adaptive_avg_pool2d(photo, geometry.input_size)
        self.geometry, self.perceptual, self.l2, self.lpips = geometry, perceptual, l2, lpips

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        output = self.geometry.at_input_size(image)
        distance = torch.full((), torch.inf, device=image.device)
        loss = self.l2 * F.mse_loss(output, self.photo)
        if self.perceptual is not None and self.lpips > 0:
            distance = self.perceptual(self.photo, output).mean()
            loss = loss + self.lpips * distance
        return loss, distance.detach()


def check_perceptual(inverter: Any) -> None:
    """ConfigError where a method's options ask for a perceptual distance and it was given no network for it."""
    if inverter.perceptual is None and inverter.options.perceptual != "none":
        raise ConfigError(
            f"method {inverter.method!r} looks through a perceptual network and was given none; sdic.load gives it "
            "the domain's, and perceptual=none does without"
        )
