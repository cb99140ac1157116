"""FS's networks, number for number: files in the released layout, through the real loader, at full size."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sdic
from sdic import zoo
from sdic.checkpoints import read_foreign
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts import fs as layout
from sdic.domains import DOMAINS
from tests.golden_peers import TOLERANCE, deviation, deviations, direction, fs_files, golden, photo
from tests.golden_weights_g2 import stand_in_g2

STRENGTH = 0.5


@pytest.fixture(scope="module")
def values() -> dict[str, np.ndarray]:
    return golden("fs")


@pytest.fixture(scope="module")
def folder(values: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("release")
    fs_files(path)
    gc.collect()
    yield path
    for file in path.iterdir():
        file.unlink()


@torch.no_grad()
def stages(inverter: Any, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every stage of an inversion and of an edit."""
    inversion = inverter.invert(x)
    code, predicted = inverter.feature_style(inversion.photo)
    edit = sdic.Direction(direction())
    return {
        "input": inversion.photo,
        "encoder_raw": code - inverter.feature_style.latent_avg,
        "latent": inversion.latent,
        "feature_predicted": predicted,
        "feature": inversion.extras["base_feature"],
        "initial_image": inverter.generator.synthesis(inversion.latent),
        "inversion": inversion.image,
        "inversion_step2500": inverter._with_feature(code, predicted, 0.25).image,
        "feature_edited": inverter._edited_feature(inversion, STRENGTH * direction()[None]),
        "edit": inverter.edit(inversion, edit, STRENGTH),
    }


@pytest.mark.parametrize("optimize", [True, False], ids=["optimised", "plain"])
def test_the_release_matches_the_authors(
    folder: Path, values: Any, optimize: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(zoo.ENVIRONMENT, str(folder))
    inverter = sdic.load("fs-ffhq", "cpu", optimize=optimize)
    assert inverter.method == "fs"
    assert inverter.geometry == DOMAINS["face"].geometry
    x = photo(values, 1024)
    computed = stages(inverter, x)
    measured = deviations(values, computed)
    assert max(measured.values()) < TOLERANCE, measured
    identity: Any = read_foreign(stand_in_g2("arcface_iresnet50"), "backbone.pth").networks["iresnet_embedder"].eval()
    pictures = {"photo": x, "inversion": computed["inversion"].clamp(-1, 1)}
    for name, picture in pictures.items():
        with torch.no_grad():
            found = {f"identity.{name}.{n}": part for n, part in enumerate(identity.outputs(picture))}
        measured |= deviations(values, found)
    with torch.no_grad():
        cosine = (identity.embed(pictures["photo"]) * identity.embed(pictures["inversion"])).sum(1)
    expected = values["identity_loss.samples"][0, 0]
    assert abs(5 * (1 - float(cosine)) / expected - 1) < 1e-4
    assert len(measured) == len([name for name in values if name.endswith(".stats")]) - 1
    assert max(measured.values()) < TOLERANCE, measured


def test_a_wrong_map_is_seen(folder: Path, values: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swap the heads of two rows, which have equal shapes: loading succeeds, and the golden values tell."""
    monkeypatch.setenv(zoo.ENVIRONMENT, str(folder))
    swapped = [Rule("styles.0.{rest}", "heads.1.{rest}"), Rule("styles.1.{rest}", "heads.0.{rest}")]
    monkeypatch.setattr(layout, "ENCODER", [*swapped, *layout.ENCODER])
    inverter: Any = sdic.load("fs-ffhq", "cpu", optimize=False)
    inversion = inverter.invert(photo(values, 1024))
    assert deviation(values, "feature_predicted", inversion.feature) < TOLERANCE
    assert deviation(values, "latent", inversion.latent) > 10 * TOLERANCE
