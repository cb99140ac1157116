"""pSp, ReStyle and HyperStyle beside their authors' networks: files in the released layout, by the real loader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import sdic
from sdic import zoo
from sdic.domains import DOMAINS
from sdic.networks.e4e import resize_like
from tests.golden_weights import draw
from tests.golden_weights_more import deviations, golden, golden_photo, stand_in_more

TOLERANCE = 1e-3  # of a stage's standard deviation: float32 reordering; a broken layer shows as 1e-2 or more
LATENT_AVG = draw("latent_avg", (18, 512), 0)
DIRECTION = draw("direction", (18, 512), 0)


def save(path: Path, name: str, options: dict[str, Any], step_gain: float = 1.0) -> Path:
    torch.save({"state_dict": stand_in_more(name, 0, step_gain), "latent_avg": LATENT_AVG, "opts": options}, path)
    return path


def check(values: Any, stages: dict[str, Tensor]) -> None:
    expected = {name.removesuffix(".stats") for name in values.files if name.endswith(".stats")}
    assert set(stages) == expected
    measured = deviations(values, stages)
    assert max(measured.values()) < TOLERANCE, measured


@torch.no_grad()
def test_psp_matches_its_authors(tmp_path: Path) -> None:
    values, photo = golden("psp"), golden_photo()
    path = save(tmp_path / "psp.pt", "psp_ffhq", {"encoder_type": "GradualStyleEncoder", "start_from_latent_avg": True})
    inverter: Any = sdic.load(path, "cpu")
    assert inverter.method == "psp"
    encoder = inverter.encoder
    _, c1, c2, c3 = encoder.body(photo)
    p2 = resize_like(c3, c2) + encoder.lateral1(c2)
    p1 = resize_like(p2, c1) + encoder.lateral2(c1)
    inversion = inverter.invert(photo)
    mapped = inverter.generator.mapping(draw("mix_z", (1, 512), 0) * np.sqrt(512 / 1.5))
    mixed = inversion.latent.clone()
    mixed[:, 8:] = 0.5 * mapped[:, None] + 0.5 * mixed[:, 8:]
    stages = {"c1": c1, "c2": c2, "c3": c3, "p2": p2, "p1": p1, "encoder_raw": encoder.offsets(photo)}
    stages |= {"latent": inversion.latent, "image": inversion.image, "mix_mapped": mapped, "mix_latent": mixed}
    stages["image_256"] = inverter.geometry.at_input_size(inversion.image)
    stages["edit"] = inverter.edit(inversion, sdic.Direction(DIRECTION), 0.5)
    check(values, stages)
    encoder.config = replace(encoder.config, relative=True)  # the wrong map: e4e's rows
    assert deviations(values, {"latent": encoder(photo)})["latent"] > 10 * TOLERANCE


@pytest.mark.parametrize(("kind", "encoder"), [("psp", "BackboneEncoder"), ("e4e", "ProgressiveBackboneEncoder")])
@torch.no_grad()
def test_restyle_matches_its_authors(tmp_path: Path, kind: str, encoder: str) -> None:
    values, photo = golden(f"restyle_{kind}"), golden_photo()
    path = save(tmp_path / "restyle.pt", f"restyle_{kind}_ffhq", {"encoder_type": encoder}, 0.2)
    inverter: Any = sdic.load(path, "cpu", passes=3)
    assert (inverter.method, inverter.encoder.config.relative) == ("restyle", kind == "e4e")
    assert inverter.geometry == DOMAINS["face"].geometry
    stages, before = {"average_image": inverter.average_picture()}, inverter.encoder.latent_avg[None]
    for index, found in enumerate(inverter.passes(photo), 1):
        stages |= {f"step_{index}": found.latent - before, f"latent_{index}": found.latent}
        stages |= {f"image_{index}": found.image, f"image_256_{index}": inverter.geometry.at_input_size(found.image)}
        before = found.latent
    stages["edit"] = inverter.edit(found, sdic.Direction(DIRECTION), 0.5)
    check(values, stages)
    inverter.encoder.config = replace(inverter.encoder.config, relative=kind != "e4e")  # the wrong map
    wrong = next(inverter.passes(photo)).latent
    assert deviations(values, {"latent_1": wrong})["latent_1"] > 10 * TOLERANCE


@torch.no_grad()
def test_hyperstyle_matches_its_authors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hypernetwork and the W encoder come in two files, which its card names."""
    values, photo = golden("hyperstyle"), golden_photo()
    save(tmp_path / "hyperstyle_ffhq.pt", "hyperstyle_ffhq", {"dataset_type": "ffhq_hypernet"})
    torch.save({"state_dict": stand_in_more("hyperstyle_w_encoder_ffhq")}, tmp_path / "faces_w_encoder.pt")
    monkeypatch.setenv(zoo.ENVIRONMENT, str(tmp_path))
    inverter: Any = sdic.load("hyperstyle-ffhq", "cpu")
    for path in tmp_path.iterdir():
        path.unlink()
    assert (inverter.method, inverter.options.passes) == ("hyperstyle", 5)
    network, encoder_raw = inverter.hypernet, inverter.encoder(photo)
    first = inverter.frozen_pass(photo)
    pair = torch.cat([photo, first["initial"]], 1)
    stages = {"encoder_raw": encoder_raw, "latent": first["latent"], "initial_image_256": first["initial"]}
    stages["initial_image"] = inverter.generator.synthesis(first["latent"])
    stages["hypernet_feature"] = network.body(pair)[-1]
    for index, found in enumerate(inverter.passes(photo), 1):
        gains = network.gains(found.extras["vectors"], found.extras["passes"])
        if index == 1:
            stages["image_1"] = found.image
            stages |= {f"delta_{number(layer):02d}": spread(gains[layer]) for layer in gains}
        if index == 5:
            last = {f"delta_{number(layer):02d}_after_5": spread(gains[layer]) for layer in (0, 8, 9, 16)}
            stages |= {**last, "image_5": found.image, "image_256_5": inverter.geometry.at_input_size(found.image)}
    assert found.extras["vectors"].shape == (1, 17, 512)  # 35 kB of 94 MB
    stages["edit"] = inverter.edit(found, sdic.Direction(DIRECTION), 0.5)
    check(values, stages)
    network.heads[1], network.heads[2] = network.heads[2], network.heads[1]  # the wrong map, of equal shapes
    wrong = network.gains(network(pair), torch.ones(1))
    assert deviations(values, {"delta_02": spread(wrong[1])})["delta_02"] > 10 * TOLERANCE


def number(layer: int) -> int:
    """The authors' number of a convolution, which counts RGB outputs too."""
    return (3 * layer + 1) // 2


def spread(gain: Tensor) -> Tensor:
    """A change as the authors have it, for every tap."""
    return gain.expand(-1, -1, -1, 3, 3)
