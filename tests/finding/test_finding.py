"""Directions found in a generator: by a network, from a CSV, from two folders; and the commands that show them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdic.cli import main
from sdic.direction import StyleDirection
from sdic.editing.directions import load_direction
from sdic.errors import ConfigError, SdicError, UnknownNameError
from sdic.finding import FindSettings, draw, find, rank, sources
from sdic.finding.opening import Opened
from sdic.finding.sources import matched, read_labels


class Brightness(torch.nn.Module):
    """Measures how bright pictures are, left and right; asked for more pictures than `most`, it is interrupted."""

    def __init__(self, most: int = 10**9):
        super().__init__()
        self.config = type("Config", (), {"names": ("left", "right")})
        self.calls, self.most = 0, most
        self.weight = torch.nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        self.calls += len(picture)
        if self.calls > self.most:
            raise KeyboardInterrupt
        width = picture.shape[-1] // 2
        return torch.stack([10 * picture[..., :width].mean((1, 2, 3)), 10 * picture[..., width:].mean((1, 2, 3))], 1)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Brightness:
    found = Brightness()
    monkeypatch.setattr("sdic.finding.opening.attribute_network", lambda name: found)
    return found


def settings(folder: Path, **changes: Any) -> FindSettings:
    common = {"name": "left", "model": "tiny", "out": str(folder / "left.safetensors"), "device": "cpu", "samples": 150}
    return FindSettings(**{**common, "attributes": "brightness", "probes": 8, "batch": 8, **changes})


def write_photos(folder: Path, bright: float, count: int = 6) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(int(bright))
    for number in range(count):
        noise = rng.normal(bright, 20, (64, 64, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(folder / f"{folder.name}{number}.png")
    return folder


def test_a_direction_is_found_by_a_network_in_its_unit(tmp_path: Path, network: Brightness) -> None:
    found = find(settings(tmp_path, condition=["right"]))
    opened = Opened.of("tiny", "cpu")
    direction = load_direction(tmp_path / "left.safetensors", "tiny", opened.generator)
    assert direction.name == "left"
    assert "left as brightness measures it" in direction.unit
    assert direction.source["generator"] == opened.identity
    assert found.report["accuracy"] > 0.7
    latent = torch.cat(list(sources.own_codes(opened.generator, 8)))[:, None].expand(-1, 10, -1)

    def measured(codes: torch.Tensor) -> torch.Tensor:
        return network(opened.generator.synthesis(codes).clamp(-1, 1))

    asked = 0.5 * max(direction.limits)
    change = (measured(latent + direction.shift(latent, asked)) - measured(latent)).mean(0)
    assert float(change[0]) == pytest.approx(asked, rel=0.3)
    report = json.loads((tmp_path / "left.json").read_text())
    assert report["accuracy"] == found.report["accuracy"]
    assert {"samples", "unit", "generator", "calibration", "others_move", "condition"} <= set(report)


def test_a_search_that_was_stopped_goes_on(tmp_path: Path, network: Brightness) -> None:
    network.most = 100
    with pytest.raises(KeyboardInterrupt):
        find(settings(tmp_path))
    kept = next((tmp_path / "left.work").glob("*.f32"))
    assert kept.stat().st_size == 96 * 8  # 12 batches of 8 pictures, two numbers each
    with open(kept, "ab") as handle:
        handle.write(b"abc")  # a kill in the middle of a row
    network.calls, network.most = 0, 150 - 96 + 8 * 40
    stopped = find(settings(tmp_path))
    network.most = 10**9
    whole = find(settings(tmp_path / "again"))
    assert torch.equal(stopped.direction.delta, whole.direction.delta)
    network.calls = 0
    find(settings(tmp_path, name="right", out=str(tmp_path / "right.safetensors"), work=str(tmp_path / "left.work")))
    assert network.calls < 8 * 40  # nothing is measured again but the unit


def test_channels_are_ranked_and_written(tmp_path: Path, network: Brightness) -> None:
    found = rank(settings(tmp_path, top=5, take=2, extremes=0.2))
    listed = found.report["channels"]
    assert len(listed) == 5
    assert [entry["theta"] for entry in listed] == sorted((e["theta"] for e in listed), reverse=True)
    direction = load_direction(tmp_path / "left.safetensors")
    assert isinstance(direction, StyleDirection)
    moved = {**direction.convs, **{("rgb", layer): part for layer, part in direction.rgb.items()}}
    assert sum(int((part != 0).sum()) for part in moved.values()) == 2
    assert all(set(entry["effect"]) == {"left", "right"} for entry in listed)


def test_a_planted_channel_is_ranked_first(tmp_path: Path) -> None:
    """Codes whose style 4 of vector 3 is high have the label."""
    opened = Opened.of("tiny", "cpu")
    codes = torch.cat(list(sources.own_codes(opened.generator, 400)))
    latent = codes[:, None].expand(-1, 10, -1)
    with torch.no_grad():
        style = opened.generator.synthesis.styles(latent).convs[2][:, 4]
    np.save(tmp_path / "codes.npy", latent.numpy())
    rows = [f"{n},{int(value)}" for n, value in enumerate(style > style.sort().values[-40])]
    (tmp_path / "labels.csv").write_text("\n".join(["file,left", *rows]) + "\n")
    given = {"attributes": "", "labels": str(tmp_path / "labels.csv"), "codes": str(tmp_path / "codes.npy")}
    found = rank(settings(tmp_path, **given))
    assert found.report["channels"][0]["channel"] == "s3.4"
    assert found.report["channels"][0]["sign"] == 1
    assert find(settings(tmp_path, **given)).report["fit"] == "svm"


def test_two_folders_of_photos_are_inverted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bright, dark = write_photos(tmp_path / "bright", 200), write_photos(tmp_path / "dark", 40)
    (dark / "broken.png").write_bytes(b"no picture")
    given = {"attributes": "", "present": str(bright), "absent": str(dark)}
    found = find(settings(tmp_path, **given))
    assert (found.report["with"], found.report["without"]) == (6, 6)
    assert [line.partition(":")[0] for line in found.report["left_out"]] == ["broken.png"]
    assert found.direction.unit == "standard deviations of the generator's own codes"
    monkeypatch.setattr("sdic.methods.base.Inverter.invert", lambda *_: pytest.fail("inverted again"))
    again = find(settings(tmp_path, **given))
    assert torch.equal(again.direction.delta, found.direction.delta)
    wide = find(settings(tmp_path, **given, space="w+"))
    assert wide.direction.delta.shape == (10, 64)


def test_labels_of_photos_are_matched_by_name(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "all", 128, 10)
    rows = [f"all{number}.png;{number % 2};{number / 10}" for number in range(10)]
    (tmp_path / "labels.csv").write_text("\n".join(["name;left;size", *rows, "gone.png;1;1"]) + "\n")
    given = {"attributes": "", "labels": str(tmp_path / "labels.csv"), "photos": str(folder)}
    found = find(settings(tmp_path, **given, condition=["size"], extremes=0.5))
    assert found.report["samples"] == 10
    assert found.report["left_out"] == ["gone.png: no such photo"]
    with pytest.raises(UnknownNameError, match="did you mean 'left'"):
        find(settings(tmp_path, **given, name="lef"))


def test_rows_match_paths_names_and_stems() -> None:
    numbers = torch.tensor([[1.0], [2.0], [3.0]])
    found, left = matched(["a/b.png", "c.jpg", "x"], numbers, ["a/b.png", "d/c.jpg", "e.png"])
    assert found[:2, 0].tolist() == [1.0, 2.0]
    assert torch.isnan(found[2, 0])
    assert left == ["x"]
    with pytest.raises(ConfigError, match="names none of the photos: it begins with p"):
        matched(["p"], numbers[:1], ["q.png"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begins with a line"),
        ("file,a\n", "begins with a line"),
        ("file,a,a\nx,1,1\n", "begins with a line"),
        ("file,a\nx,1,2\n", "line 2: 3 cells"),
        ("file,a\nx,yes\n", "line 2: a is 'yes', not a number"),
        ("file,a\nx,inf\n", "line 2: a is not a finite number"),
    ],
)
def test_a_csv_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(ConfigError, match=said):
        read_labels(tmp_path / "l.csv")


def test_a_csv_with_empty_cells(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("file\ta\tb\nx.png\t1\t\ny.png\t\t-1\n")
    rows, columns, numbers = read_labels(tmp_path / "l.csv")
    assert (rows, columns) == (["x.png", "y.png"], ["a", "b"])
    assert torch.isnan(numbers).tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ""}, "name missing"),
        ({"name": "a/b"}, "must not contain"),
        ({"out": "x.npy"}, "written as .safetensors"),
        ({"present": "a", "absent": "b"}, "one source at a time"),
        ({"attributes": "", "present": "a"}, "two folders"),
        ({"attributes": "", "labels": "a.csv"}, "of --photos or of --codes"),
        ({"photos": "a"}, "those of a CSV"),
        ({"space": "w+"}, "same row throughout"),
        ({"attributes": ""}, "no network measures attributes of domain 'tiny'"),
        ({"name": "top"}, "brightness measures left, right, not top"),
        ({"condition": ["nothing"]}, "unknown direction"),
        ({"condition": ["pc0"]}, "projected out along the normal"),
        ({"model": "nothing"}, "neither a model"),
    ],
)
def test_settings_that_do_not_go_together(changes: dict[str, Any], said: str, tmp_path: Path, network) -> None:
    with pytest.raises(SdicError, match=said):
        find(settings(tmp_path, **{"samples": 40, **changes}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fit": "smv"}, "did you mean 'svm'"),
        ({"along": "up"}, "covariance, normal"),
        ({"space": "z"}, "w, w\\+"),
        ({"extremes": 0.7}, "at most a half"),
        ({"samples": 1}, "samples must be at least 12"),
        ({"take": 11}, "take must be at most top"),
    ],
)
def test_values_that_are_none(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FindSettings(**changes)


def test_a_given_direction_can_be_left_out(tmp_path: Path, network: Brightness) -> None:
    free = find(settings(tmp_path, along="normal"))
    found = find(settings(tmp_path, along="normal", condition=["pc0"], work=str(tmp_path / "left.work")))
    component = load_direction("pc0", "tiny", Opened.of("tiny", "cpu").generator).delta[0]

    def cosine(direction: torch.Tensor) -> float:
        return float(torch.nn.functional.cosine_similarity(direction[0], component, dim=0))

    assert abs(cosine(found.direction.delta)) < 1e-4
    assert abs(cosine(free.direction.delta)) > 1e-3


def test_codes_of_another_generator_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "codes.npy", np.zeros((12, 18, 512), np.float32))
    (tmp_path / "l.csv").write_text("file,left\n" + "".join(f"{n},{n % 2}\n" for n in range(12)))
    given = {"attributes": "", "labels": str(tmp_path / "l.csv"), "codes": str(tmp_path / "codes.npy")}
    with pytest.raises(ConfigError, match=r"10 rows x 64, these are \[18, 512\]"):
        find(settings(tmp_path, **given))


def test_pictures_are_drawn_to_be_labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = draw("tiny", str(tmp_path / "d"), 3, device="cpu")
    assert np.load(path).shape == (3, 64)
    before = (tmp_path / "d" / "00001.png").stat().st_mtime_ns
    draw("tiny", str(tmp_path / "d"), 4, device="cpu")
    assert (tmp_path / "d" / "00001.png").stat().st_mtime_ns == before
    assert np.load(path).shape == (4, 64)
    with pytest.raises(ConfigError, match="another generator or seed"):
        draw("tiny", str(tmp_path / "d"), 3, seed=1, device="cpu")


def test_components_are_written_and_edited_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "pca.npz"
    words = ["directions", "pca", "--model", "tiny", "--samples", "500", "--out", str(out)]
    assert main([*words, "--components", "3"]) == 0
    assert "of the variance" in capsys.readouterr().out
    with np.load(out) as content:
        assert content["lat_comp"].shape == (3, 1, 64)
        assert 0 < content["var_ratio"].sum() <= 1
    assert load_direction(f"{out}#2").kind == "set"
    assert main([*words, "--components", "65"]) == 2
    assert "64 dimensions" in capsys.readouterr().err


def test_list_show_and_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["directions", "list", "--domain", "portraits", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"age", "yaw", "smile"} <= {entry["name"] for entry in listed}
    assert all(entry["ready"] for entry in listed)
    assert main(["directions", "list", "--domain", "portrait"]) == 2
    assert "did you mean 'portraits'" in capsys.readouterr().err
    assert main(["directions", "show", "age", "--domain", "portraits"]) == 0
    assert "years" in capsys.readouterr().out
    assert main(["directions", "show", "s3.4", "--model", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["strongest"] == ["s3.4: 1"]
    np.save(tmp_path / "good.npy", np.ones((1, 64), np.float32))
    np.save(tmp_path / "wide.npy", np.arange(512, dtype=np.float32)[None])
    np.save(tmp_path / "nan.npy", np.full((1, 64), np.nan, np.float32))
    files = [str(tmp_path / name) for name in ("good.npy", "wide.npy", "nan.npy")]
    assert main(["directions", "check", *files, "--model", "tiny"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line[0] != " "] == ["good", "wrong", "wrong"]
    assert "belongs to another generator" in lines[2]
    assert "not finite" in lines[3]
    assert main(["directions", "check", files[0], "--model", "tiny"]) == 0


def test_a_direction_of_another_generator_is_warned_of(tmp_path: Path, tiny, network: Brightness) -> None:
    import sdic
    from sdic.editing.directions import save_direction

    found = find(settings(tmp_path)).direction
    other = tmp_path / "other.safetensors"
    save_direction(other, type(found)(found.delta, name="left", unit="x", source={"generator": "0" * 64}))
    model = sdic.PictureInverter(tiny, "tiny")
    model.direction(str(tmp_path / "left.safetensors"))  # in its own generator nothing is said
    with pytest.warns(UserWarning, match="found in generator 000000000000"):
        model.direction(str(other))
