"""StyleRes's networks, number for number: a file in the released layout, through the real loader, at full size."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sdic
from sdic.checkpoints import read_foreign
from sdic.checkpoints.layouts import styleres as layout
from sdic.domains import DOMAINS
from sdic.methods import build_inverter
from tests.golden_peers import TOLERANCE, deviation, deviations, direction, golden, photo, styleres_release

STRENGTH = 0.5


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    return golden("styleres")


@pytest.fixture(scope="module")
def released_file(values: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("release") / "styleres_ffhq.pth"
    torch.save(styleres_release(0), path)
    gc.collect()
    yield path
    path.unlink()


@torch.no_grad()
def stages(inverter: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every stage of an inversion and of an edit."""
    synthesis, transform = inverter.generator.synthesis, inverter.transform
    inversion = inverter.invert(x)
    _, skip = inverter.encoder.with_skip(x)
    base, extracted = inversion.extras["base_feature"], inversion.extras["extracted"]
    moved = inversion.latent + STRENGTH * direction()[None]
    feature = synthesis.until(inverter.layer, moved).feature
    plain, edited = transform(base, extracted), transform(feature, extracted)
    return {
        "encoder_raw": inversion.latent - inverter.encoder.latent_avg,
        "latent": inversion.latent,
        "skip": skip,
        "initial_image": synthesis(inversion.latent),
        "feature": base,
        "aligned": transform.aligned(skip, base),
        "extracted": extracted,
        "offset": plain.offset,
        "gate": plain.gate,
        "feature_enhanced": inversion.feature,
        "inversion": inversion.image,
        "feature_moved": feature,
        "offset_edited": edited.offset,
        "gate_edited": edited.gate,
        "feature_edited": edited.completed(feature),
        "edit": inverter.edit(inversion, sdic.Direction(direction()), STRENGTH),
    }


@pytest.mark.parametrize("optimize", [True, False], ids=["optimised", "plain"])
def test_the_release_matches_the_authors(released_file: Path, values: Any, optimize: bool) -> None:
    inverter = sdic.load(released_file, "cpu", optimize=optimize)
    assert inverter.method == "styleres"
    assert inverter.geometry == DOMAINS["face"].geometry
    measured = deviations(values, stages(inverter, photo(values, 256)))
    assert len(measured) == len([name for name in values if name.endswith(".stats")])
    assert max(measured.values()) < TOLERANCE, measured


def test_a_wrong_map_is_seen(values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swap the two convolutions before the gates, which have equal shapes: loading succeeds, and the golden values
    tell."""
    swap = {"of_feature.{rest}": "of_extracted.{rest}", "of_extracted.{rest}": "of_feature.{rest}"}
    rules = [
        layout.Rule(rule.source, swap.get(rule.target or "", rule.target), rule.reason) for rule in layout.TRANSFORM
    ]
    monkeypatch.setattr(layout, "TRANSFORM", rules)
    bundle = read_foreign(styleres_release(0), "swapped")
    inverter = build_inverter("styleres", bundle, DOMAINS["face"].geometry)
    inversion = inverter.invert(photo(values, 256))
    assert deviation(values, "extracted", inversion.extras["extracted"]) < TOLERANCE
    assert inversion.feature is not None
    assert deviation(values, "feature_enhanced", inversion.feature) > 10 * TOLERANCE
