"""What people write behind `--edit`, and the direction files that they bring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sdic.direction import Direction
from sdic.editing.directions import load_direction, locate, save_direction
from sdic.editing.words import parse_edits
from sdic.errors import ConfigError, UnknownNameError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def dump(here: Path) -> str:
    """GANSpace's own file: five components."""
    rng = np.random.default_rng(0)
    parts = {"act_comp": (5, 1, 64), "lat_comp": (5, 1, 64), "lat_mean": (1, 64), "lat_stdev": (5,)}
    np.savez(here / "dump.npz", **{name: rng.normal(size=shape).astype(np.float32) for name, shape in parts.items()})
    return "dump.npz"


def labels(*words: str) -> list[str]:
    return [edit.label for edit in parse_edits(words, "tiny")]


def test_a_component_of_a_ganspace_file_is_named_in_the_command(dump, here):
    edits = parse_edits([f"{dump}#2=3,pc0=1", f"{dump}#0=-1:1:2"], "tiny")
    assert [edit.label for edit in edits] == ["dump#2=3,pc0=1", "dump#0=-1", "dump#0=1"]
    expected = load_direction(dump, component=2)
    got = edits[0].directions[0].load()
    assert got.kind == "set"
    assert torch.equal(got.delta, torch.from_numpy(np.load(dump)["lat_comp"][2]))
    assert torch.equal(got.delta, expected.delta)
    assert torch.equal(load_direction(f"{dump}#2").delta, expected.delta)
    assert locate(f"{dump}#2").identity() != locate(f"{dump}#3").identity()
    with pytest.raises(ConfigError, match=r"dump\.npz#N .--edit dump.npz#2=3"):
        load_direction(dump)
    with pytest.raises(ConfigError, match=r"0 to 4.*5 was asked for"):
        load_direction(f"{dump}#5")


def test_a_file_of_one_direction_has_no_components(here):
    np.save("plain.npy", np.ones(64, dtype=np.float32))
    save_direction("ours.safetensors", Direction(torch.ones(64)))
    for name in ("plain.npy", "ours.safetensors"):
        with pytest.raises(ConfigError, match="no components"):
            load_direction(f"{name}#1")
    np.save("odd#1.npy", np.ones(64, dtype=np.float32))  # a file's own name goes first
    assert labels("odd#1.npy=2") == ["odd#1=2"]
    with pytest.raises(UnknownNameError):
        locate("pc0#1")


@pytest.mark.parametrize("word", ["pc0=1,5", "pc0=-0,5:0,5:3", "pc0=1,pc1=2,25", "pc0=1,5e-1"])
def test_a_decimal_comma_is_recognised(word):
    with pytest.raises(ConfigError, match="written with a point"):
        labels(word)


def test_an_existing_file_with_a_comma_wins_over_the_comma(here):
    (here / "a,b=c").mkdir()
    values = np.random.default_rng(0).normal(size=64).astype(np.float32)
    for name in ("a,b=c/smile.npy", "more,less=1.npy", "pc0=1,x.npy"):
        np.save(name, values)
    assert labels("a,b=c/smile.npy=2") == ["smile=2"]
    assert labels("pc0=1,a,b=c/smile.npy=2,pc1=3") == ["pc0=1,smile=2,pc1=3"]
    assert labels("a,b=c/smile.npy") == ["smile=1"]
    assert labels("more,less=1.npy=2") == ["more_less_1=2"]  # a folder's name must tell what is what
    assert labels("pc0=1,x.npy=3") == ["pc0_1_x=3"]
    assert labels("pc0=1,pc1=3") == ["pc0=1,pc1=3"]


@pytest.mark.parametrize("word", ["x" * 300 + "=1", "~nobody/x", "a\0b=1"])
def test_names_that_no_file_can_have_are_unknown_directions(word):
    with pytest.raises(UnknownNameError):
        labels(word)


@pytest.mark.parametrize("shape", [(18, 512), (1, 18, 512)])
def test_equal_rows_are_a_direction_of_w(here, shape):
    row = np.random.default_rng(0).normal(size=(1, 512)).astype(np.float32)
    np.save("dir18.npy", np.repeat(row, 18, 0).reshape(shape))
    direction = load_direction("dir18.npy")
    assert direction.delta.shape == (1, 512)
    for rows in (10, 14, 18):
        expected = 2 * torch.from_numpy(row).expand(1, rows, -1)
        assert torch.equal(direction.shift(torch.zeros(1, rows, 512), 2.0), expected)
    save_direction("dir18.safetensors", Direction(torch.from_numpy(np.repeat(row, 18, 0))))
    assert load_direction("dir18.safetensors").delta.shape == (1, 512)
    other = np.repeat(row, 18, 0)
    other[7] += 1
    np.save("rows.npy", other)
    assert load_direction("rows.npy").delta.shape == (18, 512)
    with pytest.raises(ConfigError, match="18, 512"):
        load_direction("rows.npy").shift(torch.zeros(1, 14, 512), 1.0)
