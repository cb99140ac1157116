"""InterFaceGAN: planted directions are found, units are measured, manifests are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image

from sdic.editing.directions import read_direction
from sdic.editing.manifest import read_manifest
from sdic.editing.words import parse_edits
from sdic.errors import ConfigError, SdicError, UnknownNameError
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.portrait_nets import AttributeConfig, AttributeNet
from sdic.portraits import directions
from sdic.portraits.directions import (
    DirectionsConfig,
    calibrate,
    classifier_normal,
    edit_vector,
    find_directions,
    purity,
    readouts,
    write_cards,
)
from sdic.portraits.params import field_spec
from sdic.portraits.samples import LABELS
from sdic.portraits.vector import vector_layout


def test_a_planted_direction_is_found() -> None:
    codes = torch.randn(2000, 12) * torch.linspace(0.5, 2, 12)
    planted = torch.nn.functional.normalize(torch.randn(12), dim=0)
    scores = 7 * (codes @ planted) + 0.5 * torch.randn(2000)
    normal, accuracy = classifier_normal(codes, scores, 0.1)
    assert float(normal.norm()) == pytest.approx(1.0, abs=1e-5)
    assert float(normal @ planted) > 0.97
    assert accuracy > 0.98


def test_an_attribute_that_does_not_vary_has_no_direction() -> None:
    with pytest.raises(SdicError, match="same"):
        classifier_normal(torch.randn(50, 4), torch.ones(50), 0.1)


def test_conditioning_is_projection_on_the_complement() -> None:
    normals = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    vector = edit_vector(normals, 1)
    assert float(vector.norm()) == pytest.approx(1.0, abs=1e-5)
    assert (normals[[0, 2]] @ vector).abs().max() < 1e-5
    others, _ = torch.linalg.qr(normals[[0, 2]].t())
    left = normals[1] - others @ (others.t() @ normals[1])
    assert torch.allclose(vector, left / left.norm(), atol=1e-5)
    assert torch.allclose(edit_vector(normals[1:2], 0), normals[1], atol=1e-6)


def test_with_the_covariance_an_edit_moves_one_factor_alone() -> None:
    """w = A v with independent v: normals are rows of the inverse of A, edits its columns."""
    mixing = torch.randn(6, 6) + 2 * torch.eye(6)
    spread = torch.tensor([1.0, 2.0, 0.5, 1.0, 3.0, 1.0])
    codes = (torch.randn(40_000, 6) * spread) @ mixing.t()
    normals = torch.nn.functional.normalize(torch.linalg.inv(mixing)[:2], dim=1)
    vector = edit_vector(normals, 0, torch.cov(codes.t()))
    column = torch.nn.functional.normalize(mixing[:, 0], dim=0)
    assert float(vector @ column) > 0.995
    assert float(edit_vector(normals, 0) @ column) < 0.99  # the shortest move is another one


def test_directions_that_are_one_cannot_be_parted() -> None:
    normal = torch.nn.functional.normalize(torch.randn(1, 5), dim=1)
    with pytest.raises(SdicError, match="combination"):
        edit_vector(torch.cat([normal, normal]), 0)


def test_a_unit_of_a_linear_attribute_is_measured() -> None:
    normal = torch.nn.functional.normalize(torch.randn(6), dim=0)
    found = calibrate(torch.randn(100, 6), normal, lambda w: 30 + 4 * (w @ normal), 20.0)
    assert found.per_unit == pytest.approx(0.25, rel=1e-4)
    assert found.limits == pytest.approx((-20.0, 20.0))
    assert found.measured == pytest.approx(found.asked, abs=1e-3)


def test_the_useful_range_ends_where_the_attribute_saturates() -> None:
    normal = torch.tensor([1.0, 0.0])
    codes = torch.cat([torch.zeros(50, 1), torch.randn(50, 1)], 1) + 1e-3 * torch.randn(50, 2)
    found = calibrate(codes, normal, lambda w: w[:, 0].clamp(max=10.0), 20.0)
    assert found.limits[0] == pytest.approx(-20.0)
    assert 10.0 <= found.limits[1] <= 12.5
    assert found.per_unit == pytest.approx(1.0, rel=0.05)


def test_purity_by_hand() -> None:
    """A move of 20 units: the first attribute goes 20 up (spread 10), the second 3 up or down (spread 2)."""
    before = torch.zeros(4, 2)
    after = torch.tensor([[20.0, 3.0], [20.0, -3.0], [20.0, 3.0], [20.0, -3.0]])
    assert purity(before, after, torch.tensor([10.0, 2.0]), 20.0) == pytest.approx([1 / 10, 1.5 / 20])


def test_every_amount_that_the_network_was_trained_on_can_be_read() -> None:
    network = AttributeNet(AttributeConfig(extra=LABELS, widths=(4, 8), hidden=8))
    layout = vector_layout()
    with torch.no_grad():
        network.output.weight.zero_()
        network.output.bias.zero_()
        network.output.bias[2] = 0.5  # age: half a span of 20 years above 45
        network.output.bias[3 + layout["beard"].start] = -0.5  # a quarter of its range
        network.output.bias[3:][layout["hair_color"]] = torch.tensor([1.0, 0.0, -1.0])
        network.output.bias[3 + layout["light_azimuth"].start] = 1.0
    found = readouts(network, ["age", "beard", "hair_color", "light_azimuth"])(torch.zeros(2, 3, 16, 16))
    assert found.shape == (2, 4)
    assert found[0].tolist() == pytest.approx([55.0, 0.25, 0.5, field_spec("light_azimuth").high])
    for name in ("hair_colour", "hair_style", "hat"):  # a slip; a choice; a detail that the generator does not draw
        with pytest.raises(UnknownNameError):
            readouts(network, [name])
    with pytest.raises(UnknownNameError):  # trained on something else beside its attributes
        readouts(AttributeNet(AttributeConfig(extra=5, widths=(4, 8), hidden=8)), ["beard"])


def test_units_may_be_measured_on_an_encoders_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows that differ, as an encoder's do; W is linear here, so the units are those of the generator's own."""
    encoder = E4E(E4EConfig(4, 8, (1, 1, 1, 1), (4, 4, 8, 8), coarse=1, middle=2, input_size=32))
    networks: dict[str, Any] = {"generator": _Generator(), "attribute_net": _Attributes(), "encoder": encoder}
    monkeypatch.setattr(
        directions, "require_network", lambda file, role, what: networks[role].eval().requires_grad_(False)
    )
    sizes: dict[str, Any] = {"units": ["years", "of 1"], "spans": [30.0, 0.1], "defaults": [20.0, 0.05]}
    config = DirectionsConfig(names=["age", "smile"], **sizes, samples=500, probes=6, folder=str(tmp_path))
    own = find_directions(config)
    config.encoder, config.device = "encoder.safetensors", "cpu"
    shapes = []
    monkeypatch.setattr(directions, "calibrate", lambda w, *rest: shapes.append(w.shape) or calibrate(w, *rest))
    assert find_directions(config)["age"]["per_unit"] == pytest.approx(own["age"]["per_unit"], rel=1e-3)
    assert shapes == [(6, 4, 8), (6, 4, 8)]


def test_an_attribute_that_falls_is_refused() -> None:
    with pytest.raises(SdicError, match="grow"):
        calibrate(torch.randn(20, 3), torch.tensor([1.0, 0, 0]), lambda w: -w[:, 0], 5.0)


def test_cards_replace_their_own_and_leave_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "manifest.yaml"
    path.write_text("# a remark\ndirections:\n  - {name: old, domain: face, file: old.pt}\n")
    card = {"name": "age", "domain": "portraits", "file": "portraits/age.safetensors", "limits": [-10.0, 10.0]}
    write_cards(path, "portraits", [card, {**card, "name": "yaw"}])
    write_cards(path, "portraits", [{**card, "default": 20.0}])
    assert [c.name for c in read_manifest(path)] == ["old", "age"]
    assert read_manifest(path)[1].default == 20.0
    assert path.read_text().startswith("# a remark\n")
    path.write_text("directions:\n  - {name: old, domain: face, file: old.pt}\nlast: 1\n")
    with pytest.raises(ConfigError, match="last"):
        write_cards(path, "portraits", [card])


class _Attributes(torch.nn.Module):
    """Reads two linear attributes off a picture that shows its code."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"names": ("age", "smile"), "extra": 0})

    def pooled(self, picture: torch.Tensor) -> torch.Tensor:
        return picture

    def outputs(self, picture: torch.Tensor) -> torch.Tensor:
        return torch.stack([40 + 200 * picture[:, 0, 0, 0], picture[:, 0, 0, 1]], 1)

    def in_units(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs


class _Generator(torch.nn.Module):
    """A generator whose pictures show the first coordinates of the code, and whose mapping is linear."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"style_dim": 8, "latent_rows": 4, "resolution": 32})
        self.mapping = torch.nn.Linear(8, 8, bias=False)

    def synthesis(self, latent: torch.Tensor) -> torch.Tensor:
        return 0.05 * latent[:, 0, :, None, None].expand(-1, -1, 8, 8).transpose(1, 3)[:, :3]


def test_directions_are_written_in_units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks: dict[str, Any] = {"generator": _Generator(), "attribute_net": _Attributes()}
    monkeypatch.setattr(
        directions, "require_network", lambda file, role, what: networks[role].eval().requires_grad_(False)
    )
    config = DirectionsConfig(
        names=["age", "smile"],
        units=["years", "of 1"],
        spans=[30.0, 0.1],
        defaults=[20.0, 0.05],
        samples=1500,
        probes=64,
    )
    config.folder, config.device = str(tmp_path), "cpu"
    report = find_directions(config)
    age = read_direction(tmp_path / "portraits" / "age.safetensors")
    codes = torch.randn(16, 8) * 0.5
    latent = codes[:, None].expand(-1, 4, -1)

    def measure(w: torch.Tensor) -> torch.Tensor:
        return networks["attribute_net"].outputs(networks["generator"].synthesis(w))

    change = (measure(latent + age.shift(latent, 20.0)) - measure(latent)).mean(0)
    assert float(change[0]) == pytest.approx(20.0, rel=0.02)
    assert abs(float(change[1])) < 0.02
    assert report["age"]["accuracy"] > 0.95
    assert report["age"]["purity"]["age"] == pytest.approx(1 / report["age"]["spread"], rel=0.02)
    assert report["age"]["purity"]["smile"] < 0.05 * report["age"]["purity"]["age"]
    assert report["age"]["side_effects"]["at"] == 20.0
    assert age.limits == pytest.approx((-30.0, 30.0))
    assert age.unit == "years"
    with Image.open(tmp_path / "portraits" / "sheet.png") as sheet:
        assert sheet.size == (5 * 8, 2 * 2 * 8)
    monkeypatch.setenv("SDIC_EDITINGS", str(tmp_path))
    edit = parse_edits(["age=20"], "portraits")[0]  # as `sdic edit --model portraits` looks it up
    assert edit.directions[0].path == tmp_path / "portraits" / "age.safetensors"
    assert torch.equal(edit.directions[0].load(networks["generator"]).delta, age.delta)
    find_directions(config)  # again: in place of its own
    assert [card.name for card in read_manifest(tmp_path / "manifest.yaml")] == ["age", "smile"]
    assert yaml.safe_load((tmp_path / "manifest.yaml").read_text())["directions"][0]["unit"] == "years"
