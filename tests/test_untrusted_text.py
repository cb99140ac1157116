"""YAML from elsewhere: no environment, no bombs, one line; and saved inversions that are damaged."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdic.config import load_config
from sdic.errors import CheckpointError, ConfigError
from sdic.types import Inversion


@dataclass
class Small:
    name: str = "x"
    count: int = 1
    words: list[str] = field(default_factory=list)


def settings(folder: Path, text: str) -> Small:
    (folder / "x.yaml").write_text(text)
    return load_config(Small, folder / "x.yaml")


def test_a_file_cannot_read_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_A_TEST", "hidden")
    for text in ("count: 2\nname: ${oc.env:SECRET_OF_A_TEST}", "words: [a, 'b ${oc.env:SECRET_OF_A_TEST}']"):
        with pytest.raises(ConfigError, match=r"x\.yaml, line [12]: .*not filled in"):
            settings(tmp_path, text)
    (tmp_path / "base.yaml").write_text("name: ${oc.env:SECRET_OF_A_TEST}")
    with pytest.raises(ConfigError, match=r"base\.yaml, line 1"):
        settings(tmp_path, "base: base.yaml\ncount: 2")
    assert settings(tmp_path, "name: plain $words # ${oc.env:IN_A_COMMENT}").name == "plain $words"


def test_the_command_line_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_A_TEST", "hidden")
    assert load_config(Small, None, ["name=${oc.env:SECRET_OF_A_TEST}"]).name == "hidden"


def test_aliases_that_stand_for_billions_are_counted_first(tmp_path: Path) -> None:
    text = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
    started = time.perf_counter()
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        settings(tmp_path, text)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]",
        "[" * 10_000,
        "- a",
        "count: 2020-99-99",
        "count: [1]",
        "name: {a: 1}",
        "count: ???",
        "1: 2",
        "null: 2",
        "count: 99999999999999999999999999",
        "words: 5",
        "base: " + "x" * 5000,
        "base: x.yaml",
        "name: !!python/object/apply:os.getcwd []",
        "\0",
        "#" * (1 << 21),
    ],
    ids=range(16),
)
def test_damaged_yaml_is_one_line(text: str, tmp_path: Path) -> None:
    if text == "count: 99999999999999999999999999":
        assert settings(tmp_path, text).count > 0  # Python's integers have no end
        return
    with pytest.raises(ConfigError, match=r"^[^\n]*$"):
        settings(tmp_path, text)


def inversion(folder: Path, remove: str = "", tensors: dict[str, Any] | None = None, **header: str) -> Path:
    about = {"format": "sdic.inversion", "method": "e4e", "generator": "x", "layer": "-1", **header}
    about.pop(remove, None)
    code: dict[str, Any] = {"latent": torch.zeros(1, 4, 6), "base_latent": torch.zeros(1, 4, 6)}
    content = {"image": torch.zeros(1, 3, 8, 8), **code, **(tensors or {})}
    save_file({name: tensor for name, tensor in content.items() if name != remove}, folder / "x.safetensors", about)
    return folder / "x.safetensors"


@pytest.mark.parametrize("remove", ["format", "method", "generator", "layer", "image", "latent"])
def test_inversions_with_a_part_missing(remove: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^[^\n]*$"):
        Inversion.load(inversion(tmp_path, remove))


@pytest.mark.parametrize(
    ("name", "tensor"),
    [
        ("latent", torch.zeros(1, 4, 5)),
        ("latent", torch.zeros(4, 6)),
        ("latent", torch.full((1, 4, 6), float("nan"))),
        ("latent", torch.zeros(1, 4, 6, dtype=torch.int8)),
        ("image", torch.zeros(2, 3, 8, 8)),
        ("image", torch.zeros(1, 3, 8, 8, dtype=torch.complex64)),
        ("photo", torch.zeros(3, 8, 8)),
        ("layer", torch.zeros(1, 3, 8, 8)),
        ("tensors", torch.zeros(1, 3, 8, 8)),
    ],
    ids=range(9),
)
def test_inversions_whose_tensors_do_not_fit(name: str, tensor: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^[^\n]*$"):
        Inversion.load(inversion(tmp_path, tensors={name: tensor}))


@pytest.mark.parametrize("layer", ["five", "", "1e3", "9" * 5000])
def test_inversions_of_no_layer(layer: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^[^\n]*$"):
        Inversion.load(inversion(tmp_path, layer=layer))
    assert json.dumps(Inversion.load(inversion(tmp_path)).layer) == "-1"
