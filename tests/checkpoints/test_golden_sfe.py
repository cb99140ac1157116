"""StyleFeatureEditor, number for number: files in the released layouts, through the real loader, at full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import sdic
from sdic.checkpoints import read_foreign
from sdic.checkpoints.layouts import feature_style
from sdic.domains import DOMAINS
from sdic.methods import build_inverter
from sdic.networks.stylegan2 import shrink
from tests.golden_weights import draw, key_shapes
from tests.golden_weights_g2 import deviation, draw_g2, stand_in_g2

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "golden_sfe_seed0.npz")
TOLERANCE = 1e-3  # of the stage's standard deviation


def editor_file() -> dict[str, Any]:
    """The full file of phase 2: light keys, generator, e4e, discriminator, mean code."""
    state = stand_in_g2("sfe_editor")
    state |= {k: draw(k, s) for k, s in key_shapes("sdic_ffhq").items() if k.startswith("decoder.")}
    e4e = {k: s for k, s in key_shapes("e4e_ffhq_encode").items() if k.startswith("encoder.")}
    state |= {f"e4e_{key}": draw(key, shape) for key, shape in e4e.items()}
    state |= {k: draw_g2(k, s) for k, s in key_shapes("stylegan2_ada_discriminator_1024").items()}
    return {"state_dict": state, "latent_avg": draw("latent_avg", (512,)), "encoder_opt": {}, "disc_opt": {}}


@pytest.fixture(scope="module")
def bundle() -> Any:
    found = read_foreign(editor_file(), "sfe_editor.pt")
    for network in found.networks.values():
        network.eval().requires_grad_(False)
    return found


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    """1,024 px to 256 px without antialiasing, as the authors do it."""
    whole = F.interpolate(torch.from_numpy(GOLDEN["x_low"]), size=(1024, 1024), mode="bicubic", align_corners=False)
    return shrink(torch.tanh(whole), (256, 256))


@torch.no_grad()
def test_every_stage_matches_the_authors(bundle: Any, photo: torch.Tensor) -> None:
    assert bundle.source["method"] == "sfe"
    inverter: Any = build_inverter("sfe", bundle, DOMAINS["face"].geometry)
    phase1: Any = build_inverter("sfe-inverter", bundle, DOMAINS["face"].geometry, rule="kept")
    direction = sdic.Direction(draw("direction", (18, 512)))
    first, second = inverter.first(photo), inverter.encoder(photo)
    moved = second + direction.shift(second, 0.5)
    inversion, one = inverter.invert(photo), phase1.invert(photo)
    delta = inverter.delta(second, moved)
    code, predicted = inverter.sfe_encoder(photo)
    synthesis, discriminator = inverter.generator.synthesis, bundle.networks["discriminator"]
    whole = F.interpolate(torch.from_numpy(GOLDEN["x_low"]), size=(1024, 1024), mode="bicubic", align_corners=False)
    drawn = synthesis(second)
    pair = inverter.first(shrink(drawn, (256, 256)))
    edited_feature = inverter.feature_editor(pair["fused_feature"], delta)
    computed = {
        "input": photo,
        "encoder_raw": code,
        "latent": first["latent"],
        "feature_predicted": predicted,
        "feature": first["base_feature"],
        "feature_fused": first["fused_feature"],
        "initial_image": synthesis(first["latent"]),
        "inverter.inversion": one.image,
        "inverter.edit": phase1.edit(one, direction, 0.5),
        "feature_enhanced": inversion.feature,
        "inversion": inversion.image,
        "latent_e4e": second,
        "delta": delta,
        "feature_edited": inverter.feature_editor(first["fused_feature"], delta),
        "edit": inverter.edit(inversion, direction, 0.5),
        "logits_real": discriminator(torch.tanh(whole)),
        "logits_fake": discriminator(inversion.image),
        "train.pair_input": drawn,
        "train.pair_target": synthesis(moved),
        "train.latent": pair["latent"],
        "train.feature_fused": pair["fused_feature"],
        "train.feature_edited": edited_feature,
        "train.output": inverter.render(pair["latent"] + direction.shift(pair["latent"], 0.5), edited_feature, 8),
    }
    stages = {name.removesuffix(".stats") for name in GOLDEN.files if name.endswith(".stats")}
    assert stages == set(computed)
    measured = {}
    for stage, tensor in computed.items():
        if stage.startswith("logits"):  # one number: its deviation is that of nothing
            measured[stage] = abs(float(tensor) - float(GOLDEN[f"{stage}.stats"][0])) / abs(float(tensor))
        else:
            measured[stage] = deviation(GOLDEN, stage, tensor)
    assert max(measured.values()) < TOLERANCE, measured


@torch.no_grad()
def test_a_wrong_map_is_seen(bundle: Any, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exchange two norms of equal shape: loading succeeds, and the golden values tell."""
    swap = {"norm2": "norm3", "norm3": "norm2"}
    rules = [
        rule
        if rule.target is None or not rule.target.startswith("content.")
        else type(rule)(rule.source, ".".join(swap.get(part, part) for part in rule.target.split(".")))
        for rule in feature_style.ENCODER
    ]
    monkeypatch.setattr("sdic.checkpoints.layouts.sfe.ENCODER", rules)
    light = {"state_dict": {k: draw_g2(k.replace("encoder.", "inverter.", 1), s) for k, s in _inverter_keys()}}
    wrong: Any = read_foreign(light, "sfe_inverter_light.pt").networks["sfe_encoder"].eval()
    code, predicted = wrong(photo)
    assert deviation(GOLDEN, "encoder_raw", code) < TOLERANCE
    assert deviation(GOLDEN, "feature_predicted", predicted) > 10 * TOLERANCE


def _inverter_keys() -> list[tuple[str, tuple[int, ...]]]:
    return list(key_shapes("sfe_inverter").items())
