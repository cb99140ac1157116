"""Weight files that are damaged or hostile: one line, at once, and no more memory than they have bytes."""

from __future__ import annotations

import io
import json
import pickle
import struct
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from sdic.checkpoints import copy_native, read_bundle, write_native
from sdic.checkpoints.unpickle import load_tensors
from sdic.errors import CheckpointError
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from tests.checkpoints.test_files import CONFIG, rosinality_keys
from tests.golden_weights import draw

OURS = GeneratorConfig(32, 16, 2, channels=(4, 4, 4, 4))


def rosinality(**changes: Any) -> dict[str, Any]:
    state: dict[str, Any] = {key: draw(key, shape) for key, shape in rosinality_keys(CONFIG).items()}
    return {"g_ema": {**state, **changes}, "latent_avg": torch.zeros(16)}


def saved(folder: Path, content: Any, **options: Any) -> Path:
    torch.save(content, folder / "x.pt", **options)
    return folder / "x.pt"


def native(folder: Path, tensors: dict[str, Any] | None = None, **header: str) -> Path:
    """A file of ours with parts of its header, or tensors, replaced."""
    path = folder / "x.safetensors"
    generator = Generator(OURS)
    write_native(path, {"generator": generator})
    blob = path.read_bytes()
    size = int.from_bytes(blob[:8], "little")
    about = json.loads(blob[8 : 8 + size])["__metadata__"]
    state = {f"generator.{name}": tensor for name, tensor in generator.state_dict().items()}
    path.write_bytes(save({**state, **(tensors or {})}, {**about, **header}))
    return path


def config(**changes: Any) -> str:
    values = {"resolution": 32, "style_dim": 16, "mapping_layers": 2, "channels": [4, 4, 4, 4], **changes}
    return json.dumps({"generator": values})


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(16, 16, dtype=torch.complex64),
        torch.zeros(16, 16, dtype=torch.int8),
        torch.zeros(16, 16, device="meta"),
        torch.zeros(16, 16).to_sparse(),
        torch.quantize_per_tensor(torch.zeros(16, 16), 0.1, 0, torch.qint8),
        torch.full((16, 16), float("nan")),
        torch.zeros(16),
        torch.zeros(()),
        "text",
        None,
        [1],
    ],
    ids=lambda value: (
        str(getattr(value, "dtype", value)) + str(getattr(value, "layout", "")) + str(getattr(value, "shape", ""))
    ),
)
def test_what_is_no_weight_is_refused(tensor: Any, legacy: bool, tmp_path: Path) -> None:
    path = saved(tmp_path, rosinality(**{"style.1.weight": tensor}), _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=r"^[^\n]*$"):
        read_bundle(path)


@pytest.mark.parametrize(
    "latent_avg",
    [
        torch.full((16,), float("nan")),
        torch.zeros(7),
        torch.zeros(3, 16, 2),
        torch.zeros(16, dtype=torch.complex64),
        "x",
    ],
    ids=["nan", "7", "3x16x2", "complex", "text"],
)
def test_a_mean_code_that_is_none_is_refused(latent_avg: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        read_bundle(saved(tmp_path, {**rosinality(), "latent_avg": latent_avg}))


@pytest.mark.parametrize(
    ("networks", "named"),
    [
        (config(mapping_layers=2**64), "mapping_layers 1.845e.19, more than its tensors have"),
        (config(mapping_layers=100_000), "more than its tensors have"),
        (config(style_dim=2**40), "more than its tensors have"),
        (config(channels=[4, 4, 4, 2**63]), "channels 9.223e.18"),
        (config(mapping_layers="2"), "damaged"),
        (config(style_dim=1.5), "damaged"),
        (config(channels={"a": 1}), "channels holds a dict"),
        (config(style_dim=float("nan")), "style_dim nan"),
        (config(resolution=33), "power of two"),
        (json.dumps({"generator": [1]}), "config is a list"),
        (json.dumps([1]), "networks is a list"),
        (json.dumps({"generatr": {}}), "generatr"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_header_that_does_not_fit_its_tensors_is_refused_before_anything_is_built(
    networks: str, named: str, tmp_path: Path
) -> None:
    path = native(tmp_path, networks=networks)
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match=named):
        read_bundle(path)
    assert time.perf_counter() - started < 3


@pytest.mark.parametrize("source", ["[]", "{", json.dumps({"layer": "five"}), json.dumps({"layer": 5})])
def test_a_damaged_source_is_refused(source: str, tmp_path: Path) -> None:
    path = native(tmp_path, source=source)
    with pytest.raises(CheckpointError):
        read_bundle(path)


def test_tensors_of_ours_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    for tensor in (torch.zeros(16, 16, dtype=torch.int8), torch.full((16, 16), float("inf")), torch.zeros(16, 17)):
        with pytest.raises(CheckpointError, match=r"mapping\.layers\.0\.weight|damaged"):
            read_bundle(native(tmp_path, {"generator.mapping.layers.0.weight": tensor}))
    with pytest.raises(CheckpointError, match=r"latent_avg"):
        read_bundle(native(tmp_path, {"generator.latent_avg": torch.full((16,), float("nan"))}))


def test_a_damaged_file_is_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"\x05\0\0\0\0\0\0\0{nope")
    with pytest.raises(CheckpointError, match="not a readable safetensors"):
        copy_native(path, tmp_path / "y.safetensors", {})


@pytest.mark.parametrize("legacy", [False, True])
def test_a_tensor_asks_for_no_more_memory_than_its_file_has(legacy: bool, tmp_path: Path) -> None:
    """Stride 0: a billion numbers that are all the same one."""
    options = {"_use_new_zipfile_serialization": not legacy}
    with pytest.raises(CheckpointError, match="more memory than the file has bytes"):
        load_tensors(saved(tmp_path, torch.zeros(1).expand(1 << 30), **options))
    many = [torch.zeros(1).expand(1 << 17) for _ in range(8)]
    with pytest.raises(CheckpointError, match="more memory than the file has bytes"):
        load_tensors(saved(tmp_path, many, **options))
    rows = load_tensors(saved(tmp_path, torch.arange(512.0).expand(18, 512), **options))
    assert torch.equal(rows[17], torch.arange(512.0))  # a direction in every row is nothing unusual


def test_the_same_storage_many_times_is_no_bomb(tmp_path: Path) -> None:
    storage = io.BytesIO()
    torch.save(torch.zeros(100_000).untyped_storage(), storage, _use_new_zipfile_serialization=False)
    call = b"ctorch.storage\n_load_from_bytes\n"
    content = struct.pack("<I", len(storage.getvalue())) + storage.getvalue()
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x03]q\x00(B" + content + b"q\x01" + (call + b"h\x01\x85R") * 50 + b"e.")
    with pytest.raises(CheckpointError, match=r"more memory than the file has bytes|damaged"):
        load_tensors(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80",
        b"\x80\x02.",
        b"\x80\x04" + b"(" * 1000 + b".",
        b"\x80\x02X\xff\xff\xff\xffab.",
        b"\x80\x04\x8e" + b"\xff" * 8 + b".",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x04" + b"}" * 2_100_000 + b".",
        b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b"N\x85\x8f.",
        b"\x80\x02}]Nsb.",
        b"PK\x03\x04",
        b"GIF89a",
    ],
    ids=range(12),
)
def test_what_is_no_pickle_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    started = time.perf_counter()
    with pytest.raises(CheckpointError, match=r"^[^\n]*$"):
        read_bundle(tmp_path / "x.pkl")
    assert time.perf_counter() - started < 20


def test_keys_with_line_breaks_are_one_line(tmp_path: Path) -> None:
    content = rosinality(**{"conv1.a\nb\x1b[31m": torch.zeros(1), "c" * 100_000: torch.zeros(1)})
    with pytest.raises(CheckpointError) as error:
        read_bundle(saved(tmp_path, content))
    assert str(error.value).isprintable()
    assert len(str(error.value)) <= 3000


def test_compressed_members_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, {"a": torch.zeros(1000)})
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        load_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_what_torch_writes_is_read_alike(legacy: bool, tmp_path: Path) -> None:
    """Every number format, views, shared storages, parameters, nested containers: as torch.load reads them."""
    base = torch.arange(24.0).reshape(4, 6)
    content = {
        "views": [base, base[1:, ::2], base.t(), base[:0], torch.zeros(0, 3), torch.tensor(2.5)],
        **{str(kind): torch.ones(3).to(kind) for kind in (torch.float64, torch.float16, torch.bfloat16, torch.bool)},
        **{
            str(kind): torch.arange(3).to(kind)
            for kind in (torch.int64, torch.int32, torch.int16, torch.uint8, torch.int8)
        },
        "parameter": torch.nn.Parameter(base.clone()),
        "state": torch.nn.BatchNorm2d(3).state_dict(),
        "plain": (1, -(2**40), 1.5, "é", None, True, {"x": {1, 2}}, base.shape, torch.device("cpu")),
    }
    path = saved(tmp_path, content, _use_new_zipfile_serialization=not legacy)
    expected, found = torch.load(path, weights_only=True), load_tensors(path)
    assert list(expected) == list(found)
    for ours, theirs in zip(found["views"], expected["views"], strict=True):
        assert torch.equal(ours, theirs)
    for key, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(found[key], value)
            assert found[key].dtype == value.dtype
    assert dict(found["state"]).keys() == expected["state"].keys()
    assert found["plain"][:7] == expected["plain"][:7]
    assert found["plain"][7] == (4, 6)


def test_a_pickle_of_numbers_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match="layout that sdic does not know"):
        read_bundle(tmp_path / "x.pkl")
