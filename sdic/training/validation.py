"""The metrics of the tables on held-out photos, and the picture grid, both through the very inverter that users get."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from sdic.data.dataset import PictureDataset, Sample, collate
from sdic.evaluation.metrics import Networks, at_input_size, measure
from sdic.methods.sdic import SDICInverter
from sdic.training.distributed import World
from sdic.training.stack import Stack
from sdic.types import Direction
from sdic.utils.images import to_picture, write_png


def inverter_of(stack: Stack, compensator: nn.Module, precision: str) -> SDICInverter:
    """The inverter that a run's weights make, with `compensator` in eval mode (the caller sets it back)."""
    network: Any = compensator.eval()
    inverter = SDICInverter(stack.generator, stack.encoder, network, stack.geometry, stack.layer)
    inverter.precision = precision  # type: ignore[assignment]
    inverter._fingerprint = stack.hashes["generator"]
    return inverter


def validate(
    inverter: SDICInverter, dataset: PictureDataset, names: list[str], networks: Networks, world: World
) -> tuple[dict[str, float], list[str]]:
    """(mean of each metric over the photos that can be read, what is wrong with each of the others).

    Every process takes its share of the photos.
    """
    rows: dict[int, dict[str, float]] = {}
    problems: list[str] = []
    for index in range(world.rank, len(dataset), world.size):
        sample = dataset[index]
        if sample.problem:  # the photo that stands in for it has its own turn
            problems.append(sample.problem)
            continue
        photo = collate([sample]).photo.to(world.device)
        image = inverter.invert(photo).image
        values = measure(names, photo, at_input_size(image, inverter.geometry), networks)
        rows[index] = {name: value[0] for name, value in values.items()}
    shared: dict[int, dict[str, float]] = {}
    for part in world.gather(rows):
        shared.update(part)
    ordered = [shared[index] for index in sorted(shared)]  # summed in one order, however many processes there are
    means = {name: sum(row[name] for row in ordered) / len(ordered) for name in ordered[0]}
    return means, sorted(problem for part in world.gather(problems) for problem in part)


def improves(value: float, best: float | None, better: str) -> bool:
    """Whether a validation's value is better than the best one so far (None: there is none).

    better: "lower" or "higher". A value that is not finite is worse than any number, and than none.
    """
    if not math.isfinite(value):
        return False
    if best is None or not math.isfinite(best):
        return True
    return value < best if better == "lower" else value > best


def readable(dataset: PictureDataset, count: int) -> Tensor:
    """The first `count` photos of a data set that can be read (fewer where it has fewer): [N, 3, H, W]."""
    samples: list[Sample] = []
    for index in range(len(dataset)):
        if len(samples) == count:
            break
        sample = dataset[index]
        if not sample.problem:
            samples.append(sample)
    return collate(samples).photo


@torch.no_grad()
def principal_direction(inverter: SDICInverter, seed: int = 0, draws: int = 512) -> Direction:
    """The first principal component of the generator's codes, in standard deviations: an edit that needs no file."""
    generator = inverter.generator
    z = torch.randn(draws, generator.config.style_dim, generator=torch.Generator().manual_seed(seed))
    codes = generator.mapping(z.to(inverter.device)).float()
    centred = codes - codes.mean(0)
    _, spread, axes = torch.linalg.svd(centred.cpu(), full_matrices=False)
    axis = axes[0] * torch.sign(axes[0].abs().max() * axes[0][axes[0].abs().argmax()])  # a sign that does not wander
    delta = axis * spread[0] / draws**0.5
    return Direction(delta.to(inverter.device), name="first principal component", unit="standard deviations")


def picture_grid(inverter: SDICInverter, photos: Tensor, direction: Direction, strength: float = 2.0) -> Image.Image:
    """One row a photo: photo, first reconstruction, discrepancy map, output, an edit. photos [B, 3, H, W]."""
    rows = []
    for photo in photos.split(1):
        inversion = inverter.invert(photo)
        edited = inverter.edit(inversion, direction, strength)
        assert inversion.discrepancy is not None
        assert inversion.initial_image is not None
        spread = inversion.discrepancy.abs().amax().clamp_min(1e-6)
        tiles = (
            photo,
            inversion.initial_image,
            inversion.discrepancy / spread,  # grey is no discrepancy
            at_input_size(inversion.image, inverter.geometry),
            at_input_size(edited, inverter.geometry),
        )
        rows.append(torch.cat([tile.float().cpu() for tile in tiles], 3))
    return to_picture(torch.cat(rows, 2)[0].nan_to_num())


def write_grid(path: Path, grid: Image.Image) -> None:
    """Write the grid as PNG."""
    write_png(path, grid)
