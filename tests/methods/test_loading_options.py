"""`sdic.load` wherever it is called from, with whatever is asked of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import sdic
from sdic.bundles import read_frozen
from sdic.checkpoints import write_native
from sdic.direction import Direction
from sdic.errors import ConfigError
from sdic.methods import base
from sdic.methods.base import images_at_once
from sdic.tiny import tiny_bundle


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_native(tmp_path / "mine.safetensors", tiny_bundle(0).networks, {"layer": "3"})
    return tmp_path / "mine.safetensors"


@pytest.mark.parametrize("optimize", [True, False])
def test_a_model_loads_and_works_inside_inference_mode(file, photos, optimize):
    expected = sdic.load(file, "cpu", optimize=optimize).invert(photos[:1])
    with torch.inference_mode():
        model = sdic.load(file, "cpu", optimize=optimize)
        inversion = model.invert(photos[:1])
        edited = model.edit(inversion, sdic.load_direction("pc0", generator=model.generator), 1.0)
    assert torch.equal(inversion.image, expected.image)
    assert not edited.is_inference()
    # What inference mode has left behind must not spoil a later use with gradients.
    latent = inversion.latent.clone().requires_grad_(True)
    model.generator.synthesis(latent).square().mean().backward()
    assert latent.grad is not None
    assert torch.isfinite(latent.grad).all()


def test_frozen_networks_load_inside_inference_mode(file):
    with torch.inference_mode():
        networks = read_frozen(str(file)).networks
    assert not any(tensor.is_inference() for network in networks.values() for tensor in network.state_dict().values())


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("tiny", {"layers": 3}, "no option 'layers' .did you mean 'layer'.*; it has layer, paradigm"),
        ("tiny", {"precison": "bf16"}, "did you mean 'precision'"),
        ("tiny-e4e", {"layer": 3}, "'e4e' has no option 'layer'"),
        ("tiny", {"paradigm": "edit-compensat"}, "did you mean 'edit-compensate'"),
        ("tiny", {"layer": "3"}, "whole number"),
        ("tiny", {"layer": 40}, "layers 0"),
        ("tiny", {"precision": "bf61"}, "did you mean 'bf16'"),
        ("tiny", {"device": "nonsense"}, "'nonsense' does not exist"),
        ("tiny", {"device": "cuda:99"}, "of the kind cuda here; use cpu, or auto"),
    ],
)
def test_unknown_settings_are_errors_with_a_suggestion(model, options, said):
    with pytest.raises(ConfigError, match=said):
        sdic.load(model, **{"device": "cpu", **options})
    if "device" not in options:
        with pytest.raises(ConfigError, match=said):
            sdic.open_model(model, "cpu", **options)


def test_how_many_images_go_through_at_a_time():
    cpu, gpu = torch.device("cpu"), torch.device("meta")
    assert images_at_once(cpu, 1024) == images_at_once(cpu, 64) == 1
    assert images_at_once(gpu, 1024) == 8
    assert images_at_once(gpu, 512) == 32
    assert images_at_once(gpu, 4096) == 1


def test_long_sweeps_and_large_batches_go_through_in_parts(tiny, photos, monkeypatch):
    inversion, direction = tiny.invert(photos[:1]), Direction(torch.randn(64))
    expected = tiny.edit(inversion, direction, torch.linspace(-1, 1, 9))
    sizes: list[int] = []
    real_edit, real_invert = tiny._edit, tiny._invert
    monkeypatch.setattr(base, "images_at_once", lambda device, resolution: 3)
    monkeypatch.setattr(tiny, "_edit", lambda part, *rest: sizes.append(len(part)) or real_edit(part, *rest))
    monkeypatch.setattr(tiny, "_invert", lambda photo: sizes.append(len(photo)) or real_invert(photo))
    edited = tiny.edit(inversion, direction, torch.linspace(-1, 1, 9))
    assert sizes == [3, 3, 2]  # the strength 0 in the middle is the inversion itself
    torch.testing.assert_close(edited, expected, atol=1e-4, rtol=1e-4)
    sizes.clear()
    assert len(tiny.invert(photos.repeat(3, 1, 1, 1)[:7])) == 7
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("machine", ["x86_64", "arm64"])
def test_an_arithmetic_that_is_slower_on_the_cpu_is_warned_of(precision, amx, machine, monkeypatch, recwarn):
    for name in ("_is_amx_tile_supported", "_is_amx_fp16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: amx, raising=False)
    monkeypatch.setattr("platform.machine", lambda: machine)
    sdic.load("tiny-e4e", "cpu", precision=precision)
    slow = precision != "fp32" and not amx and machine == "x86_64"
    assert [str(warning.message)[:14] for warning in recwarn] == ([f"precision {precision}"] if slow else [])
