"""HFGI's networks, number for number: a file in the released layout, through the real loader, at full size."""

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
from sdic.checkpoints.layouts import hfgi as layout
from sdic.domains import DOMAINS
from sdic.methods import build_inverter
from sdic.methods.features import first_reconstruction
from sdic.networks.layers import shrink
from tests.golden_peers import TOLERANCE, deviation, deviations, direction, golden, hfgi_release, photo

STRENGTH = 0.5


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    return golden("hfgi")


@pytest.fixture(scope="module")
def released_file(values: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("release") / "hfgi_ffhq.pt"
    torch.save(hfgi_release(0), path)
    gc.collect()
    yield path
    path.unlink()


@torch.no_grad()
def stages(inverter: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every stage of an inversion and of its edits."""
    synthesis, ada, consultation = inverter.generator.synthesis, inverter.ada, inverter.consultation
    inversion = inverter.invert(x)
    size = inversion.feature.shape[2:]
    scale, shift = consultation(inversion.extras["aligned"], size)
    moved = inversion.latent + STRENGTH * direction()[None]
    feature, lowres = first_reconstruction(synthesis, moved, inverter.layer, inverter.geometry)
    aligned = ada(inversion.extras["discrepancy"], lowres)
    conditions = consultation(aligned, size)
    edit = sdic.Direction(direction())
    return {
        "encoder_raw": inversion.latent - inverter.encoder.latent_avg,
        "latent": inversion.latent,
        "initial_image": synthesis(inversion.latent),
        "feature": inversion.extras["base_feature"],
        "initial_lowres": inversion.extras["initial_image"],
        "distortion": inversion.extras["discrepancy"],
        "distortion_aligned": inversion.extras["aligned"],
        "scale": scale,
        "shift": shift,
        "feature_fused": inversion.feature,
        "inversion": inversion.image,
        "inversion_saved": shrink(inversion.image, 256),
        "edit_initial_image": synthesis(moved),
        "edit_distortion_aligned": aligned,
        "edit_scale": conditions.scale,
        "edit_shift": conditions.shift,
        "edit_feature": feature,
        "edit_feature_fused": conditions.fused(feature),
        "edit": inverter.edit(inversion, edit, STRENGTH),
        "edit_without_realignment": inverter.edit(inversion, edit, STRENGTH, rule="kept"),
    }


@pytest.mark.parametrize("optimize", [True, False], ids=["optimised", "plain"])
def test_the_release_matches_the_authors(released_file: Path, values: Any, optimize: bool) -> None:
    inverter = sdic.load(released_file, "cpu", optimize=optimize)
    assert inverter.method == "hfgi"
    assert inverter.geometry == DOMAINS["face"].geometry
    measured = deviations(values, stages(inverter, photo(values, 256)))
    assert len(measured) == len([name for name in values if name.endswith(".stats")])
    assert max(measured.values()) < TOLERANCE, measured


def test_a_wrong_map_is_seen(values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swap the heads of scale and shift, which have equal shapes: loading succeeds, and the golden values tell."""
    swap = {"scale.{i}.{rest}": "shift.{i}.{rest}", "shift.{i}.{rest}": "scale.{i}.{rest}"}
    rules = [layout.Rule(rule.source, swap.get(rule.target or "", rule.target)) for rule in layout.CONSULTATION]
    monkeypatch.setattr(layout, "CONSULTATION", rules)
    bundle = read_foreign(hfgi_release(0), "swapped")
    inverter = build_inverter("hfgi", bundle, DOMAINS["face"].geometry)
    inversion = inverter.invert(photo(values, 256))
    assert deviation(values, "distortion_aligned", inversion.extras["aligned"]) < TOLERANCE
    assert inversion.feature is not None
    assert deviation(values, "feature_fused", inversion.feature) > 10 * TOLERANCE
