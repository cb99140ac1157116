"""The authors' networks, number for number: a file in the released layout, through the real loader, at full size."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import sdic
from sdic.checkpoints import read_foreign
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts import sdic as release_layout
from sdic.domains import DOMAINS
from sdic.methods.sdic import first_reconstruction
from sdic.types import Geometry
from tests.golden_weights import draw, release, stand_in

GOLDEN = Path(__file__).parent.parent / "golden"
TOLERANCE = 1e-3  # of the stage's standard deviation: float32 reordering; a broken layer shows as 1e-1
FACE = np.load(GOLDEN / "golden_face_seed0.npz")


@pytest.fixture(scope="module")
def released_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("release") / "sdic_ffhq.pt"
    torch.save(release(0), path)
    gc.collect()
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    coarse = torch.from_numpy(FACE["x_low"])
    return torch.tanh(F.interpolate(coarse, size=(256, 256), mode="bicubic", align_corners=False))


def deviation(stage: str, tensor: torch.Tensor) -> float:
    """Largest difference from the golden samples, and of mean, std, min and max, in standard deviations of the stage.

    The samples of maps whose sides are powers of two lie in their last column: the rest is in the statistics alone.
    """
    stats = FACE[f"{stage}.stats"]
    values = tensor.reshape(len(tensor), -1).double().numpy()
    picked = values[:, np.linspace(0, values.shape[1] - 1, 257).astype(int)]
    worst = np.abs(picked - FACE[f"{stage}.samples"]).max()
    found = [values.mean(), values.std(), values.min(), values.max()]
    return float(max(worst, np.abs(np.array(found) - stats).max()) / stats[1])


def stages(inverter: Any, photo: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every stage of an inversion and of a released-rule edit."""
    synthesis = inverter.generator.synthesis
    with torch.no_grad():
        latent = inverter.encoder(photo)
        feature, initial = first_reconstruction(synthesis, latent, inverter.layer, inverter.geometry)
        whole = synthesis(latent)
    inversion = inverter.invert(photo)
    direction = draw("direction", (18, 512), 0)
    edit = inverter.edit(inversion, sdic.Direction(direction), 0.5, rule="released")
    with torch.no_grad():
        shift = 0.5 * direction[None]
        feature_edited = inverter.with_options(rule="released")._edited_feature(inversion, shift)
    return {
        "encoder_raw": latent - inverter.encoder.latent_avg,
        "latent": latent,
        "initial_image": whole,
        "feature": feature,
        "initial_lowres": initial,
        "discrepancy": inversion.extras["discrepancy"],
        "feature_enhanced": inversion.feature,
        "latent_enhanced": inversion.latent,
        "inversion": inversion.image,
        "feature_edited": feature_edited,
        "edit": edit,
    }


@pytest.mark.parametrize("optimize", [True, False], ids=["optimised", "plain"])
def test_face_release_matches_the_authors(released_file: Path, photo: torch.Tensor, optimize: bool) -> None:
    inverter = sdic.load(released_file, "cpu", optimize=optimize)
    assert inverter.method == "sdic"
    assert inverter.geometry == DOMAINS["face"].geometry
    computed = stages(inverter, photo)
    measured = {stage: deviation(stage, tensor) for stage, tensor in computed.items()}
    assert len(measured) == 11
    assert max(measured.values()) < TOLERANCE, measured
    wrong = computed["feature"].clone()
    wrong[:, 0, :, 0] += 10 * wrong.std()  # no sample lies there
    assert deviation("feature", wrong) > TOLERANCE


def test_a_wrong_map_is_seen(photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swap the two branch encoders, which have equal shapes: loading succeeds, and the golden values tell."""
    swapped = []
    for rule in release_layout.DIPN:
        target = rule.target or ""
        if target.startswith("photo_encoder"):
            target = target.replace("photo", "initial", 1)
        elif target.startswith("initial_encoder"):
            target = target.replace("initial", "photo", 1)
        swapped.append(Rule(rule.source, target or None, rule.reason))
    monkeypatch.setattr(release_layout, "DIPN", swapped)
    bundle = read_foreign(release(0), "swapped")
    from sdic.methods import build_inverter

    for network in bundle.networks.values():
        network.eval()
    inverter: Any = build_inverter("sdic", bundle, DOMAINS["face"].geometry)
    inversion = inverter.invert(photo)
    assert deviation("latent", inversion.base_latent) < TOLERANCE
    assert deviation("discrepancy", inversion.extras["discrepancy"]) > 10 * TOLERANCE


def test_other_names_of_the_same_parts(photo: torch.Tensor) -> None:
    """Older files say CGI for DIP and residue for SAF, and releases carry loss networks along."""
    content = release(0)
    state = content["state_dict"]
    assert isinstance(state, dict)
    renamed = {key.replace("DIP.", "CGI.", 1).replace("SAF.", "residue.", 1): value for key, value in state.items()}
    renamed["lpips_loss.net.x"] = renamed["id_loss.facenet.x"] = torch.zeros(1)
    bundle = read_foreign({**content, "state_dict": renamed}, "older")
    assert set(bundle.networks) == {"generator", "encoder", "dipn", "dicn"}
    assert {"lpips_loss.net.x", "id_loss.facenet.x", "CGI.stem_2.0.conv.weight"} & set(bundle.dropped)


@pytest.mark.parametrize(
    ("name", "layout"), [("arcface_model_ir_se50", "arcface"), ("curricularface_backbone", "curricularface")]
)
def test_identity_networks_match_the_authors(name: str, layout: str) -> None:
    golden = np.load(GOLDEN / "golden_identity_seed0.npz")
    picture = F.interpolate(torch.from_numpy(golden["x_low"]), size=(256, 256), mode="bicubic", align_corners=False)
    bundle = read_foreign(stand_in(name), name)
    assert bundle.source["layout"] == layout
    network: Any = bundle.networks["face_embedder"].eval()
    with torch.no_grad():
        embedding = network.embed(torch.tanh(picture)).numpy()
    assert np.abs(embedding - golden[name]).max() / golden[name].std() < TOLERANCE


def test_car_release_runs() -> None:
    """192x256 in, 512 out, of which rows 64..448 show the photo. The authors' code crashes here."""
    from sdic.methods import build_inverter

    bundle = read_foreign(release(0, "sdic_cars", 16), "cars")
    assert Geometry.from_text(bundle.source["geometry"]) == DOMAINS["car"].geometry
    assert bundle.source["domain"] == "car"
    for network in bundle.networks.values():
        network.eval()
    inverter = build_inverter("sdic", bundle, DOMAINS["car"].geometry)
    inversion = inverter.invert(torch.rand(1, 3, 192, 256) * 2 - 1)
    assert inversion.image.shape == (1, 3, 512, 512)
    assert inversion.latent.shape == (1, 16, 512)
    assert inverter.geometry.visible(inversion.image).shape == (1, 3, 384, 512)
    assert torch.isfinite(inversion.image).all()
