"""The metrics of the tables, by name: small functions of a batch of photos and outputs, one number a picture.

Shapes: B batch; pictures [B, 3, H, W] in [-1, 1], at the size the method looks at photos (256 px for faces), so PSNR
and SSIM have a range of 2. L2 is the mean squared error on that scale, as every table of the field prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdic.errors import SdicError, UnknownNameError
from sdic.types import Geometry

PEAK = 2.0


@dataclass(frozen=True)
class Networks:
    """What metrics look through; None where there is none. lpips: a perceptual distance, called with (photo, output)
    gives [B]; its `name` is what its numbers are called. embedder: identity, `embed` gives unit vectors [B, E]."""

    lpips: Any = None
    embedder: Any = None


@dataclass(frozen=True)
class Metric:
    """compute: (photo, output, networks) -> [B]. needs: the network it looks through."""

    compute: Callable[[Tensor, Tensor, Networks], Tensor]
    needs: str = ""


def l2(photo: Tensor, output: Tensor, networks: Networks) -> Tensor:
    """Mean squared error."""
    return (output - photo).square().flatten(1).mean(1)


def psnr(photo: Tensor, output: Tensor, networks: Networks) -> Tensor:
    """10 log10(peak^2 / L2) in dB; infinite for equal pictures."""
    return 10 * torch.log10(PEAK**2 / l2(photo, output, networks))


def ssim(photo: Tensor, output: Tensor, networks: Networks) -> Tensor:
    """Structural similarity, Gaussian window of 11 px with sigma 1.5."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(output, photo, data_range=PEAK, reduction="none")
    assert isinstance(value, Tensor)
    return value.reshape(len(photo))


def lpips(photo: Tensor, output: Tensor, networks: Networks) -> Tensor:
    """Perceptual distance: LPIPS, or another one under its own label."""
    return networks.lpips(photo, output)


def identity(photo: Tensor, output: Tensor, networks: Networks) -> Tensor:
    """Cosine of the embeddings."""
    return (networks.embedder.embed(photo) * networks.embedder.embed(output)).sum(1)


def at_input_size(image: Tensor, geometry: Geometry) -> Tensor:
    """An output [B, 3, R, R] as metrics look at it: clamped to [-1, 1], at the input size [B, 3, H, W]."""
    return geometry.at_input_size(image.clamp(-1, 1))


METRICS: dict[str, Metric] = {
    "l2": Metric(l2),
    "psnr": Metric(psnr),
    "ssim": Metric(ssim),
    "lpips": Metric(lpips, "lpips"),
    "id": Metric(identity, "embedder"),
}
"""Every metric by name. A new one is a function and a line here."""


def metric(name: str, networks: Networks | None = None) -> Metric:
    """A metric by name; SdicError if `networks` is given and lacks what it looks through."""
    if name not in METRICS:
        raise UnknownNameError("metric", name, METRICS)
    found = METRICS[name]
    if networks is not None and found.needs and getattr(networks, found.needs) is None:
        raise SdicError(f"metric {name!r} needs the network {found.needs!r}, and there is none")
    return found


def label(name: str, networks: Networks) -> str:
    """How a metric's numbers are called: its name, or that of another perceptual distance than LPIPS."""
    return str(getattr(networks.lpips, "name", name)) if name == "lpips" else name


@torch.no_grad()
def measure(names: list[str], photo: Tensor, output: Tensor, networks: Networks) -> dict[str, list[float]]:
    """label -> one number a picture."""
    return {label(name, networks): metric(name, networks).compute(photo, output, networks).tolist() for name in names}
