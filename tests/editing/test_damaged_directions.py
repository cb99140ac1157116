"""Direction files, manifests and hash notes that are damaged or hostile end in a line."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sdic.direction import Direction
from sdic.editing.directions import read_direction, save_direction
from sdic.editing.manifest import read_manifest
from sdic.errors import CheckpointError, ConfigError
from sdic.networks.stylegan2 import GeneratorConfig
from sdic.zoo import WeightFile, known_sha256, remember_sha256

PCA = {"mean": torch.zeros(1, 16), "comp": torch.ones(3, 1, 16), "std": torch.ones(3)}


def npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


@pytest.mark.parametrize(
    ("array", "named"),
    [
        (np.ones(16, dtype=np.complex64), "complex64"),
        (np.array(["a"] * 16), "an array of"),
        (np.array([None] * 16, dtype=object), "a list, which is no direction"),
        (np.full(16, np.nan), "not finite"),
        (np.full(16, 1e300), "not finite"),
        (np.ones((2, 2, 2, 2)), "delta must be"),
    ],
)
def test_arrays_that_are_no_direction(array: Any, named: str, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, array)
    with pytest.raises((CheckpointError, ConfigError), match=named):
        read_direction(path, config=GeneratorConfig(style_dim=16))


def test_an_array_that_says_it_is_larger_than_its_file(tmp_path: Path) -> None:
    """Gigabytes would be asked for before anything is read."""
    path = tmp_path / "x.npy"
    path.write_bytes(npy(np.ones(16)).replace(b"(16,), }        ", b"(99999999999,),}"))
    with pytest.raises(CheckpointError, match=r"an array of shape .99999999999,. in"):
        read_direction(path)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("a.npy", path.read_bytes())
    with pytest.raises(CheckpointError, match="an array of shape"):
        read_direction(tmp_path / "x.npz")


def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
        for _ in range(300):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(CheckpointError, match="more than 256 MB"):
        read_direction(path)


@pytest.mark.parametrize(
    "change",
    [
        {"std": torch.ones(1)},
        {"std": torch.zeros(3)},
        {"std": torch.full((3,), float("nan"))},
        {"mean": torch.zeros(1, 15)},
        {"mean": torch.full((1, 16), float("inf"))},
        {"comp": torch.ones(())},
        {"comp": torch.ones(0, 1, 16)},
        {"comp": "text"},
        {"std": None},
    ],
    ids=range(9),
)
def test_damaged_components(change: dict[str, Any], tmp_path: Path) -> None:
    torch.save({**PCA, **change}, tmp_path / "x.pt")
    with pytest.raises((CheckpointError, ConfigError), match=r"^[^\n]*$"):
        read_direction(tmp_path / "x.pt", component=2)


def test_stride_0_wants_no_gigabytes(tmp_path: Path) -> None:
    torch.save(torch.zeros(1).expand(1 << 33), tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="more memory than the file has bytes"):
        read_direction(tmp_path / "x.pt")


@pytest.mark.parametrize(
    "settings",
    [
        "{",
        "[]",
        json.dumps({"kind": "add"}),
        json.dumps({"kind": "ad", "rows": None, "limits": None}),
        json.dumps({"kind": "add", "rows": [1], "limits": None}),
        json.dumps({"kind": "add", "rows": ["a", "b"], "limits": None}),
        json.dumps({"kind": "add", "rows": 5, "limits": None}),
        json.dumps({"kind": "add", "rows": None, "limits": None, "scale": "x"}),
        json.dumps({"kind": "add", "rows": None, "limits": None, "name": 5}),
        json.dumps({"kind": "add", "rows": None, "limits": None, "extra": 5}),
    ],
)
def test_damaged_headers(settings: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"delta": torch.ones(1, 16)}, path, {"format": "sdic.direction", "direction": settings})
    with pytest.raises((CheckpointError, ConfigError), match=r"^[^\n]*$"):
        read_direction(path)


def test_whole_ones_still_round_trip(tmp_path: Path) -> None:
    direction = Direction(torch.ones(1, 16), "set", (0, 2), torch.zeros(16), 2.0, (-1.5, 1), "age", "years")
    save_direction(tmp_path / "x.safetensors", direction)
    again = read_direction(tmp_path / "x.safetensors")
    assert (again.rows, again.limits, again.scale, again.name) == ((0, 2), (-1.5, 1), 2.0, "age")
    np.savez(tmp_path / "x.npz", lat_mean=np.zeros((1, 16)), lat_comp=np.eye(16)[:3, None], lat_stdev=np.ones(3))
    assert torch.equal(read_direction(tmp_path / "x.npz", component=1).delta, torch.eye(16)[1:2])
    np.save(tmp_path / "x.npy", np.asfortranarray(np.arange(32, dtype=np.float64).reshape(2, 16)))
    assert torch.equal(read_direction(tmp_path / "x.npy").delta, torch.arange(32.0).reshape(2, 16))


@pytest.mark.parametrize(
    "text",
    [
        "directions:\n- {name: [a], domain: face, file: x}",
        "directions:\n- {name: a, domain: face, file: x, from: [b]}",
        "sources: []\ndirections:\n- {name: a, domain: face, file: x, from: b}",
        "sources: {b: 1}\ndirections:\n- {name: a, domain: face, file: x, from: b}",
        "directions:\n- {name: a, domain: face, file: x, rows: [a, b]}",
        "directions:\n- {name: a, domain: face, file: x, component: one}",
        "directions:\n- {name: a, domain: face, file: x, default: .nan}",
        "directions:\n- {name: a, domain: face, file: x, unit: 2020-01-01}",
        "directions:\n- {name: a, domain: face, file: x, about: 2020-99-99}",
        "directions: &a [*a]",
        "? [a]\n: b",
        "[" * 5000,
        "a: !!python/object/apply:os.getcwd []",
    ],
    ids=range(13),
)
def test_damaged_manifests(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"^[^\n]*$"):
        read_manifest(tmp_path / "manifest.yaml")


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", b"zz" * 32, b"0a" * 31, b"0" * 100_000, b"\0"])
def test_damaged_hash_notes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pt.sha256").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pt\.sha256"):
        known_sha256(WeightFile("w.pt", "", ""), tmp_path / "w.pt")


def test_a_whole_hash_note_is_read(tmp_path: Path) -> None:
    remember_sha256(tmp_path / "w.pt", "0a" * 32)
    assert known_sha256(WeightFile("w.pt", "", ""), tmp_path / "w.pt") == "0a" * 32
