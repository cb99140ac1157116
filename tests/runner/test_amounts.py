"""Amounts in the unit of what measures them: photo by photo, said in the report, the same from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from runner_helpers import statuses

import sdic
from sdic.direction import Direction, StyleDirection
from sdic.editing.directions import save_direction
from sdic.errors import ConfigError
from sdic.utils.images import to_tensor

Run = Callable[..., tuple[int, dict[str, Any]]]


class Red(torch.nn.Module):
    """Measures how red pictures are, in a unit of its own, and no more than 3 of it."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"names": ("red",)})
        self.pictures = 0

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        self.pictures += len(picture)
        return 5 * torch.tanh(picture[:, :1].mean((1, 2, 3))[:, None])


@pytest.fixture
def red(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Red]:
    """A domain "tiny" that has a network, and a direction of its name in $SDIC_EDITINGS."""
    network = Red()
    (tmp_path / "red.net").write_bytes(b"weights")
    monkeypatch.setattr("sdic.evaluation.amounts.attribute_network", lambda name: network)
    monkeypatch.setattr("sdic.evaluation.amounts.missing_file", lambda name: "")
    entry = sdic.domains.DOMAINS["tiny"]
    object.__setattr__(entry, "attributes", str(tmp_path / "red.net"))
    folder = tmp_path / "editings"
    weight = tiny.generator.synthesis.to_rgb[4].weight[0, :, 0, 0].detach()  # more of what draws red, on the whole
    save_direction(folder / "red.safetensors", StyleDirection(rgb={8: 0.2 * weight}, name="red", unit="of red"))
    save_direction(folder / "none.safetensors", Direction(torch.ones(64), name="none", unit=""))
    cards = "  - {name: red, domain: tiny, kind: style, file: red.safetensors, unit: of red}\n"
    cards += "  - {name: none, domain: tiny, file: none.safetensors}\n"
    (folder / "manifest.yaml").write_text("directions:\n" + cards)
    monkeypatch.setenv("SDIC_EDITINGS", str(folder))
    yield network
    object.__setattr__(entry, "attributes", "")


def measured(picture: Image.Image) -> float:
    return float(Red()(to_tensor(picture)[None]))


def test_each_photo_takes_its_own_strength(red: Red, run: Run, model, tmp_path: Path) -> None:
    code, report = run("edit", "--edit", "red=0.05:0.1:2", "--edit", "none=1")
    assert code == 0
    strengths = []
    for entry in report["files"]:
        for asked in (0.05, 0.1):
            found = entry["amounts"][f"red={asked:g}"]["red"]
            assert found["asked"] == asked
            assert found["unit"] == "of red"
            stem = Path(entry["name"]).with_suffix(".png")
            out = tmp_path / "out"
            with Image.open(out / f"red={asked:g}" / stem) as after, Image.open(out / "inversion" / stem) as before:
                moved = measured(after.convert("RGB")) - measured(before.convert("RGB"))
            assert moved == pytest.approx(found["reached"], abs=0.02)
            assert not found["out_of_reach"]
            assert found["reached"] == pytest.approx(asked, abs=0.03)
            strengths.append(found["strength"])
        assert "none=1" not in entry["amounts"]  # nobody knows what it is measured by
    assert len(set(strengths)) > 2
    before = red.pictures
    _, again = run("edit", "--edit", "red=0.05:0.1:2", "--edit", "none=1")
    assert set(statuses(again).values()) == {"skipped"}
    assert [entry["amounts"] for entry in again["files"]] == [entry["amounts"] for entry in report["files"]]
    assert red.pictures == before


def test_what_is_out_of_reach_is_said(red: Red, run: Run, model) -> None:
    _, report = run("edit", "--edit", "red=40", "--limit", "1")
    entry = report["files"][0]
    assert entry["amounts"]["red=40"]["red"]["out_of_reach"] is True
    assert any("red +40 is out of reach; it moved by" in warning for warning in entry["warnings"])


def test_no_network_means_the_directions_own_unit(red: Red, run: Run, model, tmp_path: Path) -> None:
    _, report = run("edit", "--edit", "red=2", "--limit", "1", "--attributes", "none")
    assert report["files"][0]["amounts"] == {}
    assert red.pictures == 0
    with Image.open(tmp_path / "out" / "red=2" / "anna.png") as picture:
        plain = np.array(picture)
    _, report = run("edit", "--edit", "red=2", "--limit", "1")  # measured: another picture, so it is made anew
    assert statuses(report)["anna.png"] == "done"
    assert report["files"][0]["amounts"]["red=2"]["red"]["asked"] == 2
    with Image.open(tmp_path / "out" / "red=2" / "anna.png") as picture:
        assert not np.array_equal(np.array(picture), plain)


def test_python_does_the_same(red: Red, run: Run, model, photos: Path, tmp_path: Path) -> None:
    run("edit", "--edit", "red=0.1", "--limit", "1")
    opened = sdic.PictureInverter(model.inverter)
    inversion = opened.invert(photos / "anna.png")
    picture = opened.edit(inversion, "red", 0.1)
    with Image.open(tmp_path / "out" / "red=0.1" / "anna.png") as written:
        assert np.abs(np.array(written).astype(int) - np.array(picture).astype(int)).max() <= 1
    (amount,) = opened.amounts(inversion, "red", 0.1)
    assert amount.asked == 0.1
    assert amount.reached == pytest.approx(measured(picture) - measured(opened.picture(inversion)), abs=0.02)
    assert len(opened.edit(inversion, "red", [0.05, 0.1])) == 2
    plain = sdic.PictureInverter(model.inverter, attributes="none")
    assert plain.measurer is None
    with pytest.raises(ConfigError, match="not measured"):
        plain.amounts(inversion, "red", 0.1)
    with pytest.raises(ConfigError, match="'none' changes is not measured for tiny; red is"):
        opened.amounts(inversion, "none", 0.1)


def test_a_network_that_is_none_ends_the_run(run: Run, model, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = run("edit", "--edit", "pc0=1", "--attributes", "nothing.pt")
    assert code == 2
    assert "nothing.pt" in capsys.readouterr().err
