"""The command line itself: fast, and clear about what went wrong."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import sdic
from sdic import cli
from sdic.checkpoints import read_bundle, write_native
from sdic.cli import main
from sdic.tiny import tiny_bundle

ROOT = Path(__file__).resolve().parent.parent


def python(*words: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, **options)


def test_help_is_quick_and_needs_no_torch():
    start = time.perf_counter()
    result = python("-m", "sdic", "--help", cwd=ROOT)
    assert time.perf_counter() - start < 3
    assert result.returncode == 0
    for command in ("invert", "edit", "models", "convert"):
        assert command in result.stdout


@pytest.mark.parametrize("words", [["--help"], ["edit", "--help"], ["--version"], ["models"], ["nonsense"]])
def test_torch_is_not_imported_for_words(words):
    code = "import sys\nfrom sdic.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
    code += "heavy = {'numpy', 'PIL', 'omegaconf'} if 'models' not in sys.argv else set()\n"
    if words == ["models"]:
        code += "sys.exit(0)\n"  # it may import what it likes; importing the module must not
    code += "sys.exit(sorted(name for name in {'torch', *heavy} if name in sys.modules) or 0)\n"
    result = python("-c", code, *words, cwd=ROOT)
    assert result.returncode == 0, result.stderr


def test_every_command_has_its_two_functions_and_help():
    _, children = cli.build_parser()
    assert set(children) == set(cli.commands())
    assert {"invert", "edit", "models", "convert"} <= set(children)
    for name in ("invert", "edit", "models", "convert"):
        assert callable(cli.module(name).run)
        assert "usage: sdic " + name in children[name].format_help()


def test_an_unknown_command_suggests_the_closest(capsys):
    assert main(["edti"]) == 2
    assert "did you mean 'edit'?" in capsys.readouterr().err


def test_without_a_command_it_prints_help(capsys):
    assert main([]) == 0
    assert "usage: sdic" in capsys.readouterr().out


def test_errors_are_one_line_without_traceback(capsys):
    assert main(["invert", "nowhere", "--out", "out", "--model", "tiny"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "nowhere" in error
    assert len(error.splitlines()) == 1


def test_a_programming_error_is_not_swallowed(monkeypatch):
    monkeypatch.setattr("sdic.commands.models.run", lambda args: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["models"])


def test_ctrl_c(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("sdic.commands.models.run", interrupted)
    assert main(["models"]) == 130
    assert "kept" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["invert", "edit", "convert", "models"])
def test_the_scripts_work_from_a_clone(name, tmp_path):
    result = python("-S", str(ROOT / "scripts" / f"{name}.py"), "--help", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"usage: sdic {name}" in result.stdout


def test_models_lists_every_card_with_its_files(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SDIC_PRETRAINED", str(tmp_path))
    (tmp_path / "e4e_ffhq_encode.pt").write_bytes(b"here")
    assert main(["models", "--json"]) == 0
    entries = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(entries) == set(sdic.zoo.MODELS)
    assert entries["e4e-ffhq"]["ready"]
    assert entries["e4e-ffhq"]["files"][0]["path"] == str(tmp_path / "e4e_ffhq_encode.pt")
    assert entries["sdic-ffhq"]["paper"]["psnr"] == 27.672
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    for entry in entries.values():
        assert entry["name"] in text
        for file in entry["files"]:
            assert file["name"] in text
            assert file["path"] or file["source"] in text
            assert file["licence"] in text


def test_convert_writes_networks_that_load_to_the_same_numbers(tmp_path, capsys):
    bundle = tiny_bundle(0)
    source, target = tmp_path / "source.safetensors", tmp_path / "target.safetensors"
    write_native(source, bundle.networks, {"file": "somewhere"})
    assert main(["convert", str(source), "--out", str(target)]) == 0
    said = capsys.readouterr().out
    for role, network in read_bundle(target).networks.items():
        assert role in said
        for name, tensor in bundle.networks[role].state_dict().items():
            assert torch.equal(network.state_dict()[name], tensor), name


def test_convert_says_what_was_left_out_and_why(tmp_path, capsys, monkeypatch):
    from sdic.checkpoints import Bundle

    bundle = Bundle(
        tiny_bundle(0).networks, {"sha256": "0" * 64, "layout": "sdic"}, {"a.kernel": "a constant", "b": "a constant"}
    )
    monkeypatch.setattr("sdic.checkpoints.read_bundle", lambda path, trust=False: bundle)
    assert main(["convert", "x.pt", "--out", str(tmp_path / "x.safetensors")]) == 0
    assert "left out, a constant: 2 (a.kernel, b)" in capsys.readouterr().out


def test_convert_half_is_half(tmp_path):
    source, target = tmp_path / "source.safetensors", tmp_path / "target.safetensors"
    write_native(source, tiny_bundle(0).networks)
    assert main(["convert", str(source), "--out", str(target), "--half"]) == 0
    assert target.stat().st_size < 0.6 * source.stat().st_size
    with safe_open(str(target), framework="pt") as handle:
        assert handle.get_tensor("generator.latent_avg").dtype == torch.float16


def test_convert_refuses(tmp_path, capsys):
    source, target = tmp_path / "source.safetensors", tmp_path / "target.safetensors"
    write_native(source, tiny_bundle(0).networks)
    target.write_bytes(b"precious")
    assert main(["convert", str(source), "--out", str(target)]) == 2
    assert "--force" in capsys.readouterr().err
    assert target.read_bytes() == b"precious"
    assert main(["convert", str(source), "--out", str(tmp_path / "target.pt")]) == 2
    assert ".safetensors" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "nothere.pt"), "--out", str(tmp_path / "new.safetensors")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["convert", str(source), "--out", str(target), "--force", "--trust"]) == 0
    assert "may execute code" in capsys.readouterr().err


def test_convert_does_not_execute_a_file(tmp_path, capsys):
    torch.save({"x": _Bomb(str(tmp_path / "executed"))}, tmp_path / "bomb.pt")
    assert main(["convert", str(tmp_path / "bomb.pt"), "--out", str(tmp_path / "new.safetensors")]) == 2
    assert "--trust" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


class _Bomb:
    def __init__(self, path: str):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))
