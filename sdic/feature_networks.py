"""The frozen networks that losses and metrics look through, by the name of a model or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from sdic import zoo
from sdic.bundles import read_frozen
from sdic.errors import CheckpointError
from sdic.losses.perceptual import BACKBONE, BACKBONE_SOURCE, pretrained_lpips, random_lpips
from sdic.networks.portrait_nets import AttributeDistance

LPIPS_FILE = zoo.WeightFile(BACKBONE, BACKBONE_SOURCE, "BSD-3-Clause (torchvision)")


def missing_file(name: str) -> str:
    """The file that a network's name stands for where it is in none of the pretrained folders, else "".

    name: as the functions below take it. A path is never missing here: reading it says what is wrong.
    """
    wanted = (LPIPS_FILE,) if name == "pretrained" else zoo.MODELS[name].files if name in zoo.MODELS else ()
    return next((file.name for file in wanted if zoo.find_file(file) is None), "")


def files_of(name: str) -> list[Path]:
    """The files that are here of those that a network's name stands for; none for one from a seed."""
    wanted = (LPIPS_FILE,) if name == "pretrained" else zoo.MODELS[name].files if name in zoo.MODELS else ()
    return [Path(name)] if Path(name).is_file() else [path for file in wanted if (path := zoo.find_file(file))]


class Lacking(nn.Module):
    """Stands for a perceptual distance whose file is not here: looking through it says which file that is."""

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def forward(self, photo: Tensor, output: Tensor) -> Any:
        """CheckpointError, as `perceptual_distance` has it."""
        return perceptual_distance(self.name).to(photo.device)(photo, output)


def perceptual_distance(name: str) -> Any:
    """The distance that `name` means, frozen, on the CPU: called with (photo, output) it gives [B]. Its `.name` is what
    tables call its numbers: distances through different networks do not compare.

    "pretrained": LPIPS with torchvision's AlexNet from the pretrained folders; the file of that AlexNet: the same.
    "random": LPIPS with a random backbone ("lpips_random"). A model (`portraits-attributes`) or a file that holds an
    attribute network: the distance of its features ("perceptual"). CheckpointError where it is none of these.
    """
    if name == "random":
        return random_lpips()
    if name == "pretrained":
        return pretrained_lpips(_backbone())
    if Path(name).name == BACKBONE and Path(name).is_file():
        return pretrained_lpips(name)
    return AttributeDistance(attribute_network(name, "the perceptual distance"))


def attribute_network(name: str, what: str = "a measurement of attributes") -> Any:
    """The attribute network of a model (`portraits-attributes`) or file, frozen, on the CPU: pictures [B, 3, H, W] ->
    [B, K] in units, `config.names` of them. CheckpointError where there is none; `what` says who asks."""
    return read_frozen(name).require("attribute_net", f"{what} of {name}").eval().requires_grad_(False)


def identity_network(name: str) -> Any:
    """The one network of a model (`arcface`, `moco`, `portraits-identity`) or file that embeds pictures, frozen, on the
    CPU: `embed` gives unit vectors [B, E]. CheckpointError where there is not just one."""
    networks = read_frozen(name).networks  # checks recorded hashes as well
    able = [network for network in networks.values() if hasattr(network, "embed")]
    if len(able) != 1:
        raise CheckpointError(
            f"{name}: an identity network is one that embeds pictures; this holds {', '.join(sorted(networks))}"
        )
    network: nn.Module = able[0]
    return network.eval().requires_grad_(False)


def parsing_network(name: str) -> Any:
    """The network of a model (`face-parsing`) or file that parses faces, frozen, on the CPU.

    CheckpointError where there is none."""
    network = read_frozen(name).require("bisenet", f"loss.parsing_network={name}")
    return network.eval().requires_grad_(False)


def _backbone() -> Path:
    found = zoo.find_file(LPIPS_FILE)
    if found is None:
        looked = ", ".join(map(str, zoo.search_folders()))
        raise CheckpointError(
            f"LPIPS needs torchvision's AlexNet, {BACKBONE}, looked for in {looked}. Download it from "
            f"{BACKBONE_SOURCE} and put it there under this name, or set {zoo.ENVIRONMENT} to its folder"
        )
    return found
