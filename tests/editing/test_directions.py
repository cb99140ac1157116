"""Directions by name, from every kind of file, and found in the generator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sdic.direction import Direction
from sdic.editing.directions import direction_names, load_direction, locate, read_direction, save_direction
from sdic.editing.ganspace import principal_components
from sdic.editing.manifest import REPOSITORY, known_directions, read_manifest
from sdic.editing.words import parse_edits
from sdic.errors import CheckpointError, ConfigError, UnknownNameError
from sdic.tiny import tiny_bundle


@pytest.fixture(scope="module")
def generator():
    return tiny_bundle(0).networks["generator"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$SDIC_EDITINGS, with small files in the field's layouts."""
    torch.manual_seed(0)
    row = torch.nn.functional.normalize(torch.randn(1, 512), dim=1)
    for name in ("age", "smile"):
        torch.save(row, tmp_path / f"{name}.pt")
    torch.save(row.expand(1, 18, 512).clone(), tmp_path / "pose.pt")
    components = torch.linalg.qr(torch.randn(512, 80)).Q.T[:, None].contiguous()
    pca = {"mean": torch.randn(1, 512), "comp": components, "std": torch.linspace(3, 0.4, 80)}
    for name in ("ffhq_pca.pt", "cars_pca.pt"):
        torch.save(pca, tmp_path / name)
    monkeypatch.setenv("SDIC_EDITINGS", str(tmp_path))
    return tmp_path


def test_every_direction_of_the_manifest_loads_and_moves_its_rows(folder):
    cards = [card for card in known_directions().values() if (folder / card.file).is_file()]
    assert {"age", "smile", "pose", "eyes", "beard", "lip"} <= {card.name for card in cards if card.domain == "face"}
    assert {"viewpoint", "cube", "color", "grass"} <= {card.name for card in cards if card.domain == "car"}
    for card in cards:
        direction = load_direction(card.name, card.domain)
        assert (direction.name, direction.kind, direction.rows) == (card.name, card.kind, card.rows)
        assert direction.unit
        assert direction.limits is not None
        assert direction.limits[0] <= card.default <= direction.limits[1]
        assert card.source
        assert card.licence
        rows = {"face": 18, "car": 16}[card.domain]
        moved = direction.shift(torch.zeros(1, rows, 512), card.default)[0].abs().sum(1) > 0
        first, end = card.rows or (0, rows)
        assert moved.tolist() == [first <= row < end for row in range(rows)]


def test_a_ganspace_strength_is_where_the_code_arrives(folder):
    direction = load_direction("eyes", "face")
    codes = torch.randn(2, 18, 512)
    moved = codes[:, 7] + direction.shift(codes, 20.0)[:, 7] - codes[:, 7] + codes[:, 0]
    arrived = (moved - direction.origin) @ direction.delta[0] / direction.scale
    assert torch.allclose(arrived, torch.full((2,), 20.0), atol=1e-3)


def test_names_are_looked_up_per_domain(folder):
    with pytest.raises(UnknownNameError, match="did you mean 'smile'"):
        load_direction("smil", "face")
    with pytest.raises(UnknownNameError, match="domain 'car'"):
        load_direction("age", "car")
    assert load_direction("pose").name == "pose"  # one domain only has it
    assert "age" in direction_names("face")
    assert "age" not in direction_names("car")


def test_a_missing_file_says_where_it_was_looked_for_and_comes_from(tmp_path, monkeypatch):
    monkeypatch.setenv("SDIC_EDITINGS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load_direction("age", "face")
    for words in ("age.pt", str(tmp_path), str(REPOSITORY / "editings"), "encoder4editing", "MIT", "SDIC_EDITINGS"):
        assert words in str(caught.value)


def test_a_manifest_of_the_users_own_goes_first(folder):
    np.save(folder / "mine.npy", np.ones((1, 512)))
    (folder / "manifest.yaml").write_text(
        "directions:\n  - {name: age, domain: face, file: mine.npy, default: 7, limits: [-9, 9], rows: [0, 4]}\n"
    )
    direction = load_direction("age", "face")
    assert (direction.rows, direction.limits) == ((0, 4), (-9, 9))
    assert torch.equal(direction.delta, torch.ones(1, 512))
    assert locate("age", "face").default == 7
    assert load_direction("smile", "face").limits == (-2.5, 2.5)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{name: a, domain: face, file: a.pt, limit: [0, 1]}", "did you mean 'limits'"),
        ("{name: a, domain: face}", "'file'"),
        ("{name: a/b, domain: face, file: a.pt}", "must not contain"),
        ("{name: a, domain: face, file: a.pt, rows: 3}", "two numbers"),
        ("{name: a, domain: face, file: a.pt, kind: move}", "add or set"),
        ("nonsense", "key: value"),
    ],
)
def test_mistakes_in_a_manifest_are_named(tmp_path, entry, said):
    path = tmp_path / "manifest.yaml"
    path.write_text(f"directions:\n  - {entry}\n")
    with pytest.raises(ConfigError, match=said):
        read_manifest(path)


@pytest.mark.parametrize("shape", [(512,), (1, 512), (18, 512), (1, 18, 512), (1, 9216)])
@pytest.mark.parametrize("suffix", [".pt", ".npy", ".npz"])
def test_files_of_every_kind_and_shape(tmp_path, shape, suffix):
    values = torch.randn(shape)
    path = tmp_path / f"mine{suffix}"
    if suffix == ".pt":
        torch.save(values, path)
    elif suffix == ".npy":
        np.save(path, values.double().numpy())
    else:
        np.savez(path, direction=values.numpy())
    direction = load_direction(path)
    assert direction.name == "mine"
    assert direction.delta.dtype == torch.float32
    assert torch.equal(direction.delta, values.reshape(-1, 512))


def test_safetensors_round_trip(tmp_path):
    original = Direction(
        torch.randn(1, 64), "set", (2, 5), torch.randn(64), 1.5, (-3.0, 4.0), "mine", "things", {"by": "me"}
    )
    save_direction(tmp_path / "mine.safetensors", original)
    copy = load_direction(tmp_path / "mine.safetensors")
    assert torch.equal(copy.delta, original.delta)
    assert torch.equal(copy.origin, original.origin)
    for name in ("kind", "rows", "scale", "limits", "name", "unit", "source"):
        assert getattr(copy, name) == getattr(original, name)


def test_ganspace_files_by_path_need_a_component(folder):
    with pytest.raises(ConfigError, match="80 GANSpace components"):
        load_direction(folder / "ffhq_pca.pt")
    with pytest.raises(ConfigError, match="80 was asked for"):
        load_direction(folder / "ffhq_pca.pt", component=80)
    direction = load_direction(folder / "ffhq_pca.pt", component=54, rows=(7, 8))
    named = load_direction("eyes", "face")
    assert torch.equal(direction.delta, named.delta)
    assert (direction.kind, direction.rows, direction.scale) == ("set", (7, 8), named.scale)


def test_damaged_and_dangerous_files(tmp_path):
    (tmp_path / "text.pt").write_text("no")
    (tmp_path / "text.npy").write_text("no")
    (tmp_path / "text.safetensors").write_text("no")
    (tmp_path / "empty.npz").touch()
    np.save(tmp_path / "objects.npy", np.array([Path("x")], dtype=object))
    torch.save({"a": torch.zeros(512), "b": torch.zeros(512)}, tmp_path / "two.pt")
    torch.save(Path("x"), tmp_path / "code.pt")
    for name in ("text.pt", "text.npy", "text.safetensors", "empty.npz", "objects.npy", "two.pt", "code.pt", "no.pt"):
        with pytest.raises(CheckpointError, match=name):
            load_direction(tmp_path / name)
    torch.save(torch.full((1, 512), torch.inf), tmp_path / "inf.pt")
    with pytest.raises(ConfigError, match="not finite"):
        load_direction(tmp_path / "inf.pt")


def test_a_file_of_another_kind_than_its_card_says(folder):
    card = known_directions("face")["face", "eyes"]
    with pytest.raises(ConfigError, match="kind"):
        read_direction(folder / "age.pt", card)


def test_principal_components_are_those_of_the_codes(generator):
    directions = principal_components(generator, 64, samples=3000, seed=1)
    z = torch.randn(3000, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        w = torch.cat([generator.mapping(part) for part in z.split(2000)])
    deviations = torch.stack([direction.delta.norm() for direction in directions])
    assert (deviations[:-1] >= deviations[1:] - 1e-5).all()
    assert torch.allclose(deviations.square().sum(), w.var(0).sum(), rtol=1e-4)  # nothing is lost
    for direction, deviation in zip(directions[:4], deviations, strict=False):
        along = (w - w.mean(0)) @ direction.delta[0] / deviation
        assert abs(float(along.std() / deviation) - 1) < 1e-3
    again = principal_components(generator, 3, samples=3000, seed=1)
    assert all(torch.equal(a.delta, b.delta) for a, b in zip(again, directions, strict=False))
    other = principal_components(generator, 1, samples=3000, seed=2)
    assert not torch.equal(other[0].delta, directions[0].delta)


def test_the_set_kind_of_a_component_moves_to_a_place(generator):
    direction = principal_components(generator, 1, kind="set")[0]
    codes = generator.latent_avg.expand(2, 10, -1) + torch.randn(2, 10, 64)
    moved = codes + direction.shift(codes, 2.0)
    arrived = (moved[:, 0] - direction.origin) @ direction.delta[0] / direction.scale
    assert torch.allclose(arrived, torch.full((2,), 2.0), atol=1e-4)


def test_pc_names(generator):
    assert torch.equal(load_direction("pc2", "tiny", generator).delta, principal_components(generator, 3)[2].delta)
    with pytest.raises(ConfigError, match="generator"):
        load_direction("pc2", "tiny")
    with pytest.raises(ConfigError, match="64 dimensions"):
        load_direction("pc64", "tiny", generator)


def test_identities_follow_what_changes_the_picture(folder):
    first = locate("age", "face").identity()
    assert first == locate("age", "face").identity()
    assert first != locate("pose", "face").identity()
    torch.save(torch.ones(1, 512), folder / "age.pt")
    assert locate("age", "face").identity() != first
    assert locate("pc0").identity() != locate("pc1").identity()


def test_edit_words(folder):
    def labels(*words):
        return [edit.label for edit in parse_edits(words, "face")]

    assert labels("age=3") == ["age=3"]
    assert labels("age=+20", "age=-.5", "age=-0") == ["age=20", "age=-0.5", "age=0"]
    assert labels("smile=-2:2:5") == ["smile=-2", "smile=-1", "smile=0", "smile=1", "smile=2"]
    assert labels("age=0:1:4")[1] == "age=0.333333"
    assert labels("age=3,smile=-1:1:2") == ["age=3,smile=-1", "age=3,smile=1"]
    assert labels("age", "beard") == ["age=3", "beard=-20"]  # the manifest's defaults
    assert labels("age=1", "age=1:2:2") == ["age=1", "age=2"]
    assert labels(f"{folder / 'pose.pt'}=2") == ["pose=2"]
