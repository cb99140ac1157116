"""Picture sizes are never guessed: the file says them, or what is taken is printed."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import sdic
from sdic.checkpoints import Bundle, read_foreign, write_native
from sdic.cli import main
from sdic.errors import CheckpointError, ConfigError
from sdic.loading import geometry_of
from sdic.networks.e4e import E4E, E4EConfig, StyleHead
from sdic.tiny import tiny_bundle
from sdic.types import Geometry
from tests.checkpoints.test_layouts import OPTIONS, e4e, generator_state

CARS = Geometry(512, (192, 256), (64, 448, 0, 512))


@pytest.mark.parametrize(
    ("resolution", "dataset", "expected"),
    [
        (128, "ffhq_encode", Geometry(128, (256, 256))),
        (512, "afhq_cat_encode", Geometry(512, (256, 256))),
        (512, "cartoon_encode", Geometry(512, (256, 256))),
        (512, "cars_encode", CARS),
    ],
)
def test_the_family_looks_at_256_px_and_cars_say_so(resolution: int, dataset: str, expected: Geometry) -> None:
    bundle = read_foreign(e4e(resolution, opts={**OPTIONS, "dataset_type": dataset}), "file.pt")
    assert geometry_of(bundle) == expected
    assert bundle.networks["encoder"].config.input_size == 256
    assert bundle.source.get("domain") == ("car" if expected == CARS else None)
    assert "assumed" not in bundle.source


def test_what_a_file_leaves_open_is_printed(tmp_path: Path) -> None:
    content = e4e()
    del content["opts"], content["latent_avg"]
    with pytest.warns(
        UserWarning, match=r"file\.pt: it holds no latent_avg.*do not say encoder_type \(Encoder4Editing"
    ):
        assert geometry_of(read_foreign(content, "file.pt")) == Geometry(64, (256, 256))
    path = tmp_path / "generator.pt"
    torch.save({"g_ema": {key: value for key, value in generator_state().items() if "noise_" not in key}}, path)
    with pytest.warns(UserWarning, match=r"holds no noise buffers.*holds no latent_avg") as caught:
        assert main(["convert", str(path), "--out", str(tmp_path / "ours.safetensors")]) == 0
    line = warnings.formatwarning(caught[0].message, UserWarning, caught[0].filename, caught[0].lineno)
    assert line.startswith(f"warning: {path}: it holds")
    assert line.count("\n") == 1


def test_files_without_picture_sizes_are_read_as_squares_for_their_encoder(tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    bundle = tiny_bundle(0)
    write_native(path, bundle.networks, {"layer": "3", "domain": "cats"})
    with pytest.warns(UserWarning, match=r"does not say its picture sizes: photos are squares of 64 px"):
        assert sdic.load(path, "cpu", optimize=False).geometry == Geometry(64, (64, 64))
    write_native(path, bundle.networks, bundle.source)
    assert sdic.load(path, "cpu", optimize=False).geometry == Geometry(64, (64, 64))


@pytest.mark.parametrize(
    "text", ['{"resolution": 128, "input_size": [64, 64]}', '{"resolution": 64, "input_size": [32, 32]}']
)
def test_picture_sizes_of_other_networks_are_refused(text: str) -> None:
    bundle = tiny_bundle(0)
    bundle.source["geometry"] = text
    with pytest.raises(CheckpointError, match=r"header says .*draws 64 px.*photos of 64 px"):
        geometry_of(bundle)


def test_damaged_picture_sizes_are_refused() -> None:
    whole = Geometry(512, (192, 256), (64, 448, 0, 512))
    assert Geometry.from_text(whole.to_text()) == whole
    for text in ("", "[]", "{}", '{"resolution": 64, "input_size": 5}', '{"resolution": 64, "input_size": [64, "a"]}'):
        with pytest.raises(CheckpointError, match="make no sense"):
            Geometry.from_text(text)
    for values in ((0, (64, 64)), (64, (64, -1)), (64, (64, 64), (0, 65, 0, 64)), (64, (64, 64), (32, 32, 0, 64))):
        with pytest.raises(ConfigError):
            Geometry(*values)  # type: ignore[arg-type]


@pytest.mark.parametrize("built_for", [512, 1024])
def test_an_encoder_refuses_a_size_it_was_not_built_for(built_for: int) -> None:
    sizes = E4EConfig(8, 8, (1, 1, 1, 1), (4, 4, 4, 4), 3, 7, built_for)
    with pytest.raises(ValueError, match=f"input_size is {built_for}"):
        E4E(sizes)(torch.zeros(1, 3, 256, 256))
    pools = built_for.bit_length() - 5
    assert StyleHead(4, 8, pools)(torch.zeros(1, 4, 1 << pools, 3 << (pools - 2))).shape == (1, 8)  # cars are 3:4
    with pytest.raises(ValueError, match="style head was built for"):
        StyleHead(4, 8, pools)(torch.zeros(1, 4, 16, 16))


def test_the_picture_sizes_of_the_encoder_go_before_those_of_the_generator() -> None:
    networks = tiny_bundle(0).networks
    generator = Bundle({"generator": networks["generator"]}, {"geometry": Geometry(64, (64, 64)).to_text()})
    sizes = Geometry(64, (48, 64)).to_text()
    encoder = Bundle({"encoder": networks["encoder"]}, {"geometry": sizes})
    assert generator.merge(encoder).source["geometry"] == encoder.merge(generator).source["geometry"] == sizes
    assert "geometry" not in generator.merge(Bundle({"encoder": networks["encoder"]})).source
