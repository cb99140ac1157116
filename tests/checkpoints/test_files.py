"""Files of every supported layout through the real loader, small ones; unsafe and broken ones refused."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import sdic
from sdic.checkpoints import detect_format, read_bundle, write_native
from sdic.checkpoints.layouts import FORMATS, styleres
from sdic.errors import CheckpointError
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from sdic.tiny import tiny_bundle
from tests.golden_weights import draw

CONFIG = GeneratorConfig(32, style_dim=16, mapping_layers=2, channels=(8, 8, 6, 4))


def rosinality_keys(config: GeneratorConfig) -> dict[str, tuple[int, ...]]:
    """Keys and shapes of a generator in rosinality's layout, written out independently of the table."""
    keys: dict[str, tuple[int, ...]] = {}
    for n in range(config.mapping_layers):
        keys[f"style.{n + 1}.weight"] = (config.style_dim, config.style_dim)
        keys[f"style.{n + 1}.bias"] = (config.style_dim,)
    keys["input.input"] = (1, config.channels_at(4), 4, 4)

    def modulated(name: str, inputs: int, outputs: int, size: int) -> None:
        keys[f"{name}.conv.weight"] = (1, outputs, inputs, size, size)
        keys[f"{name}.conv.modulation.weight"] = (inputs, config.style_dim)
        keys[f"{name}.conv.modulation.bias"] = (inputs,)

    for layer in range(config.layers):
        inputs, outputs = config.layer_channels(max(0, layer - 1)), config.layer_channels(layer)
        name = "conv1" if layer == 0 else f"convs.{layer - 1}"
        modulated(name, inputs, outputs, 3)
        keys[f"{name}.noise.weight"], keys[f"{name}.activate.bias"] = (1,), (outputs,)
        if layer % 2:
            keys[f"{name}.conv.blur.kernel"] = (4, 4)
        else:
            rgb = "to_rgb1" if layer == 0 else f"to_rgbs.{layer // 2 - 1}"
            modulated(rgb, outputs, 3, 1)
            keys[f"{rgb}.bias"] = (1, 3, 1, 1)
            if layer:
                keys[f"{rgb}.upsample.kernel"] = (4, 4)
        size = config.layer_resolution(layer)
        keys[f"noises.noise_{layer}"] = (1, 1, size, size)
    return keys


@pytest.fixture
def stylegan2_file(tmp_path: Path) -> Path:
    state = {key: draw(key, shape) for key, shape in rosinality_keys(CONFIG).items()}
    path = tmp_path / "stylegan2.pt"
    torch.save({"g_ema": state, "g": state, "g_optim": {"state": {}}, "latent_avg": torch.full((16,), 0.5)}, path)
    return path


def test_stylegan2_of_any_size(stylegan2_file: Path) -> None:
    bundle = read_bundle(stylegan2_file)
    generator = bundle.networks["generator"]
    assert isinstance(generator, Generator)
    assert generator.config == CONFIG
    assert bundle.source["layout"] == "stylegan2"
    assert len(bundle.source["sha256"]) == 64
    assert torch.equal(generator.latent_avg, torch.full((16,), 0.5))
    assert {"g", "g_optim"} <= set(bundle.dropped)
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())
    assert generator(torch.randn(1, 16)).shape == (1, 3, 32, 32)


def test_a_missing_latent_avg_is_computed(stylegan2_file: Path) -> None:
    content = torch.load(stylegan2_file)
    del content["latent_avg"]
    torch.save(content, stylegan2_file)
    generator: Any = read_bundle(stylegan2_file).networks["generator"]
    torch.testing.assert_close(generator.latent_avg, generator.mean_latent())
    assert generator.latent_avg.abs().sum() > 0


def test_the_noise_of_a_file_is_kept(stylegan2_file: Path) -> None:
    generator: Any = read_bundle(stylegan2_file).networks["generator"]
    expected = draw("noises.noise_4", (1, 1, 16, 16))
    assert torch.equal(generator.synthesis.convs[4].noise, expected)


def test_damaged_files_say_what_is_wrong(stylegan2_file: Path, tmp_path: Path) -> None:
    content = torch.load(stylegan2_file)
    del content["g_ema"]["convs.2.conv.weight"]
    broken = tmp_path / "broken.pt"
    torch.save(content, broken)
    with pytest.raises(CheckpointError, match=r"convs\.2\.conv\.weight"):
        read_bundle(broken)
    broken.write_bytes(stylegan2_file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="damaged"):
        read_bundle(broken)
    with pytest.raises(CheckpointError, match="no such file"):
        read_bundle(tmp_path / "nothing.pt")
    torch.save({"weights": torch.ones(1)}, broken)
    with pytest.raises(CheckpointError, match="layout that sdic does not know"):
        read_bundle(broken)
    with pytest.raises(CheckpointError, match="expected 0000"):
        read_bundle(stylegan2_file, sha256="0000")


class _Payload:
    """What a hostile file would hold: unpickling it makes a folder."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_file_that_would_execute_code_is_refused(stylegan2_file: Path, tmp_path: Path) -> None:
    target, hostile = tmp_path / "executed", tmp_path / "hostile.pt"
    torch.save({**torch.load(stylegan2_file), "extra": _Payload(target)}, hostile)
    with pytest.raises(CheckpointError, match=r"could execute code .*sdic convert .*--trust"):
        read_bundle(hostile)
    assert not target.exists()
    read_bundle(hostile, trust=True)  # on the user's explicit word
    assert target.exists()


def test_options_in_a_namespace_are_accepted(stylegan2_file: Path) -> None:
    torch.save({**torch.load(stylegan2_file), "opts": argparse.Namespace(lr=0.1)}, stylegan2_file)
    assert "generator" in read_bundle(stylegan2_file).networks


@pytest.mark.parametrize("dtype", [None, torch.float16])
def test_native_files(tmp_path: Path, dtype: torch.dtype | None, photos: torch.Tensor) -> None:
    bundle = tiny_bundle(1)
    path = tmp_path / "tiny.safetensors"
    write_native(path, bundle.networks, {"run": "test"}, dtype)
    again = read_bundle(path)
    assert set(again.networks) == set(bundle.networks)
    assert again.source["run"] == "test"
    for role, network in bundle.networks.items():
        for name, tensor in network.state_dict().items():
            other = again.networks[role].state_dict()[name]
            assert other.dtype == tensor.dtype
            torch.testing.assert_close(
                other, tensor, atol=0 if dtype is None else 2e-3, rtol=0 if dtype is None else 1e-3
            )
    inverter = sdic.load(path, "cpu", layer=3)
    assert inverter.method == "sdic"
    assert inverter.invert(photos).image.shape == (3, 3, 64, 64)


def test_native_files_of_another_make_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(CheckpointError, match="no sdic networks"):
        read_bundle(path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="not a readable"):
        read_bundle(path)


def test_layouts_are_told_apart() -> None:
    samples = {
        "sdic": {"state_dict": {"encoder.styles.0": 0, "decoder.x": 0, "DIP.x": 0}},
        "hfgi": {"state_dict": {"encoder.styles.0": 0, "decoder.x": 0, "residue.x": 0, "grid_align.x": 0}},
        "sfe": {"state_dict": {"inverter.fs_backbone.x": 0, "encoder.body.0": 0}},
        "sfe-inverter": {"state_dict": {"encoder.fs_backbone.x": 0, "encoder.fuser.x": 0}},
        "hyperstyle": {"state_dict": {"hypernet.x": 0, "decoder.x": 0}},
        "hyperstyle_w_encoder": {"state_dict": {"encoder.linear.weight": 0, "encoder.body.0": 0, "decoder.x": 0}},
        "restyle": {"state_dict": {"encoder.styles.0": 0, "decoder.x": 0}},
        "fs": {"block_1.0": 0, "block_4.0": 0, "content_layer.0": 0, "styles.0": 0},
        "e4e": {"state_dict": {"encoder.styles.0": 0, "decoder.x": 0, "encoder.latlayer1.weight": 0}},
        "styleres": {
            "e4e": {"encoder.x": 0},
            "generator_smooth": {
                **{f"{styleres.BLOCK}{part}.x": 0 for part in ("alignment", "extraction", "gates")},
                "mapping.fc0.weight": 0,
                "synthesis.b4.const": 0,
            },
        },
        "arcface_iresnet50": {"layer4.2.bn3.weight": 0, "features.weight": 0, "prelu.weight": 0},
        "bisenet": {"cp.resnet.x": 0, "ffm.x": 0, "conv_out.x": 0},
        "stylegan2": {"g_ema": {"style.1.weight": 0, "convs.0": 0}},
        "moco": {"state_dict": {"module.encoder_q.layer4.0": 0}},
        "arcface": {"output_layer.0.weight": 0, "body.23.res_layer.5.fc1.weight": 0},
        "curricularface": {"output_layer.0.weight": 0, "body.48.res_layer.0.weight": 0},
        "blazeface": {"conv2d/Kernel": 0, "classificator_16/Kernel": 0},
        "facemesh": {"p_re_lu_27/Alpha": 0, "conv2d_30/Kernel": 0},
        "iris": {"p_re_lu_27/Alpha": 0, "conv2d_30/Kernel": 0, "conv_iris/Kernel": 0},
    }
    assert set(samples) == set(FORMATS)
    for name, content in samples.items():
        assert detect_format(content, "file") == name
    hfgi = {"state_dict": {"encoder.styles.0": 0, "decoder.x": 0, "residue.x": 0}}  # half of HFGI
    with pytest.raises(CheckpointError, match="Known layouts"):
        detect_format(hfgi, "hfgi.pt")


def test_unknown_names_and_missing_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDIC_PRETRAINED", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"did you mean 'sdic-ffhq'"):
        sdic.load("sdic-fhq")
    with pytest.raises(CheckpointError) as error:
        sdic.load("e4e-ffhq", "cpu")
    for part in ("e4e_ffhq_encode.pt", str(tmp_path), "encoder4editing", "sdic convert", "MIT"):
        assert part in str(error.value)


def test_files_are_looked_for_under_either_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sdic import zoo

    monkeypatch.setenv("SDIC_PRETRAINED", str(tmp_path))
    wanted = zoo.card("sdic-cars").files[0]
    assert zoo.find_file(wanted) is None
    (tmp_path / "sdic_cars.safetensors").write_bytes(b"")
    assert zoo.find_file(wanted) == tmp_path / "sdic_cars.safetensors"


def test_a_changed_file_is_noticed(stylegan2_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of the authors' files are not known here: recorded at the first reading, verified after."""
    from sdic.bundles import read_frozen

    folder = tmp_path / "pretrained"
    folder.mkdir()
    target = folder / "stylegan2-ffhq-config-f.pt"
    target.write_bytes(stylegan2_file.read_bytes())
    monkeypatch.setenv("SDIC_PRETRAINED", str(folder))
    assert "generator" in read_frozen("stylegan2-ffhq").networks
    assert (folder / "stylegan2-ffhq-config-f.pt.sha256").is_file()
    read_frozen("stylegan2-ffhq")
    content = torch.load(target)
    content["latent_avg"] += 1
    torch.save(content, target)
    with pytest.raises(CheckpointError, match=r"another file than before.*delete stylegan2-ffhq-config-f\.pt\.sha256"):
        read_frozen("stylegan2-ffhq")
