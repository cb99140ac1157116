"""MediaPipe's networks against the reference interpreter (LiteRT 2.3.0), and the reader of `.tflite` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sdic.checkpoints import read_bundle, read_foreign, write_native
from sdic.checkpoints.tflite import read_tflite
from sdic.errors import CheckpointError
from tests.faces.stand_ins import FILES, stand_in, tflite_file, waves

GOLDEN = np.load(Path(__file__).parent.parent / "golden" / "golden_faces.npz")
OUTPUTS = {"blazeface": ("logits", "boxes"), "facemesh": ("points", "presence"), "iris": ("contour", "iris")}


def check(kind: str, name: str, network: torch.nn.Module) -> None:
    """The golden numbers, to 2e-6 of their largest: float32 rounding of other orders of summation."""
    with torch.inference_mode():
        found = network(waves(name))
    for output, tensor in zip(OUTPUTS[name], found, strict=True):
        values = tensor.double().numpy().ravel()
        samples = GOLDEN[f"{kind}.{name}.{output}.samples"]
        picked = values[np.linspace(0, values.size - 1, 257).astype(int)]
        np.testing.assert_allclose(picked, samples, rtol=0, atol=2e-6 * np.abs(values).max())
        stats = [values.mean(), values.std(), values.min(), values.max()]
        np.testing.assert_allclose(stats, GOLDEN[f"{kind}.{name}.{output}.stats"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_networks_agree_with_the_reference_interpreter(name: str, tmp_path: Path) -> None:
    """Stand-in weights in the released graphs; here they come through a file, and back from ours."""
    path = tmp_path / f"{FILES[name]}.tflite"
    path.write_bytes(tflite_file(stand_in(name)))
    bundle = read_bundle(path)
    assert bundle.source["layout"] == name
    check("stand_in", name, bundle.networks[name])
    write_native(tmp_path / "ours.safetensors", bundle.networks, bundle.source)
    check("stand_in", name, read_bundle(tmp_path / "ours.safetensors").networks[name])


def test_every_tensor_of_a_network_counts() -> None:
    tensors = stand_in("iris")
    del tensors["depthwise_conv2d_20/Bias"]
    with pytest.raises(CheckpointError, match="depthwise_conv2d_20/Bias"):
        read_foreign(tensors, "iris.tflite")
    tensors = {**stand_in("iris"), "conv2d_99/Bias": torch.zeros(3)}
    with pytest.raises(CheckpointError, match="conv2d_99/Bias"):
        read_foreign(tensors, "iris.tflite")


SMALL = {"a/Kernel": torch.arange(12.0).view(3, 4), "b": torch.tensor([1, 2], dtype=torch.int32)}


def test_a_tflite_file_gives_its_tensors_by_name() -> None:
    found = read_tflite(tflite_file({**SMALL, "half": torch.ones(3).half()}), "file")
    assert list(found) == ["a/Kernel", "b", "half"]
    assert torch.equal(found["a/Kernel"], SMALL["a/Kernel"])
    assert found["half"].dtype == torch.float16


def test_damaged_tflite_files_are_refused() -> None:
    """Every byte in turn with the values that hurt most; every length."""
    whole = tflite_file(SMALL)
    refused = 0
    for place in range(len(whole)):
        for value in (0x00, 0x7F, 0x80, 0xFF):
            damaged = whole[:place] + bytes([value]) + whole[place + 1 :]
            try:
                read_tflite(damaged, "file")
            except CheckpointError:
                refused += 1
    assert refused > len(whole)
    for length in range(len(whole) - 8):
        with pytest.raises(CheckpointError):
            read_tflite(whole[:length], "file")


def test_a_tflite_file_takes_no_more_memory_than_it_has_bytes() -> None:
    many = {str(k): torch.ones(10_000) for k in range(100)}
    assert len(read_tflite(tflite_file(many), "file")) == 100
    with pytest.raises(CheckpointError, match="the same bytes"):
        read_tflite(tflite_file(many, shared=True), "file")
