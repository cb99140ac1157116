"""LPIPS (Zhang et al. 2018) on AlexNet, from files that are here. Shapes: B batch; pictures [B, 3, H, W] in [-1, 1].

The package `lpips` brings the small linear heads, but fetches its backbone from the network and takes any file of the
right name for it. Here the backbone is a path, and its hash is checked.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import CheckpointError, SdicError
from sdic.utils.files import sha256_of

BACKBONE = "alexnet-owt-7be5be79.pth"
BACKBONE_SHA256 = "7be5be79"  # torchvision puts the first digits of the hash into the name
BACKBONE_SOURCE = "https://download.pytorch.org/models/" + BACKBONE


class PerceptualDistance(Protocol):
    """Anything that compares pictures [B, 3, H, W] pair by pair: [B], 0 for equal ones. name: what tables call it."""

    name: str

    def __call__(self, photo: Tensor, output: Tensor) -> Tensor:
        """(photo, output) -> [B]."""


class LPIPS(nn.Module):
    """Frozen, always in eval mode; `name` is "lpips", or "lpips_random" with a random backbone: never mix the two."""

    smallest = 32
    """px of a picture's shorter side; below, AlexNet's last layer has no pixels left."""

    def __init__(self, network: nn.Module, name: str):
        super().__init__()
        self.network = network.eval().requires_grad_(False)  # the heads come trainable, their dropout with `train()`
        self.name = name

    def train(self, mode: bool = True) -> LPIPS:
        """Stays in eval mode whatever is asked for."""
        return super().train(False)

    def forward(self, photo: Tensor, output: Tensor) -> Tensor:
        """Distance of each pair: [B], 0 for equal pictures. SdicError for pictures below `smallest`."""
        height, width = photo.shape[2:]
        if min(height, width) < self.smallest:
            raise SdicError(f"LPIPS needs pictures of at least {self.smallest} px, got {width}x{height}")
        return self.network(photo, output).flatten()


class OverScales(nn.Module):
    """The sum of a distance over pictures as they are and halved again and again, `scales` sizes in all."""

    def __init__(self, distance: PerceptualDistance, scales: int):
        super().__init__()
        self.distance, self.scales, self.name = distance, scales, distance.name

    def forward(self, photo: Tensor, output: Tensor) -> Tensor:
        total = self.distance(photo, output)
        for _ in range(self.scales - 1):
            photo, output = F.avg_pool2d(photo, 2), F.avg_pool2d(output, 2)
            total = total + self.distance(photo, output)
        return total


def pretrained_lpips(path: str | os.PathLike[str]) -> LPIPS:
    """LPIPS with torchvision's AlexNet from `path`. CheckpointError if it is another file."""
    path = Path(path)
    digest = sha256_of(path)
    if not digest.startswith(BACKBONE_SHA256):
        raise CheckpointError(
            f"{path}: sha256 is {digest[:16]}..., torchvision's AlexNet begins with {BACKBONE_SHA256}; the download is "
            f"damaged or another file; get it again from {BACKBONE_SOURCE}"
        )
    model = _untrained()
    load_backbone(model.network, torch.load(path, map_location="cpu", weights_only=True), str(path))
    model.name = "lpips"
    return model


def random_lpips() -> LPIPS:
    """LPIPS with a random backbone (seed 0): its numbers compare with nothing but themselves."""
    return _untrained()


def load_backbone(network: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Copy torchvision's AlexNet `features.N.weight` into the slices of the package's network."""
    targets = {
        f"features.{name.split('.slice')[1].split('.', 1)[1]}": tensor
        for name, tensor in network.named_parameters()
        if ".slice" in name
    }
    for key, tensor in targets.items():
        if key not in state or state[key].shape != tensor.shape:
            found = list(state[key].shape) if key in state else "nothing"
            raise CheckpointError(f"{what}: {key} should be {list(tensor.shape)}, found {found}")
        with torch.no_grad():
            tensor.copy_(state[key])


def _untrained() -> LPIPS:
    import lpips

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")  # torchvision's deprecated `pretrained=`
        torch.manual_seed(0)
        return LPIPS(lpips.LPIPS(net="alex", pnet_rand=True, verbose=False), "lpips_random")
