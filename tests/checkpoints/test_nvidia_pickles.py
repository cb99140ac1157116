"""NVIDIA's pickles: the generator in them, number for number, and nothing executed."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sdic.checkpoints import read_bundle
from sdic.cli import main
from sdic.errors import CheckpointError
from sdic.networks.stylegan2 import Generator, GeneratorConfig
from tests.ada_pickles import FullyConnectedLayer, ada_pickle, made, tf_pickle

SIZES: dict[str, dict[str, Any]] = {
    "plain": {},
    "deeper": {"layers": 5},
    "narrow": {"size": 64, "base": 512, "most": 12, "width": 8},
    "clamped": {"clamp": 256.0},
    "without noise": {"noise": False},
}


def stored(folder: Path, content: bytes) -> Path:
    path = folder / "network.pkl"
    path.write_bytes(content)
    return path


def generator_of(path: Path) -> Generator:
    generator = read_bundle(path).networks["generator"]
    assert isinstance(generator, Generator)
    return generator


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pictures_are_those_of_the_original(name: str, protocol: int, tmp_path: Path) -> None:
    original = made(3, **SIZES[name])
    generator = generator_of(stored(tmp_path, ada_pickle(original, protocol)))
    z = torch.randn(3, original.w_dim, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(generator(z), original(z), atol=2e-5, rtol=1e-5)
    assert torch.equal(generator.latent_avg, original.mapping.w_avg)
    for size in (8, 32):  # number for number
        block, layer = getattr(original.synthesis, f"b{size}"), 2 * {8: 1, 32: 3}[size]
        assert torch.equal(generator.synthesis.convs[layer].weight, block.conv1.weight)
        assert torch.equal(generator.synthesis.convs[layer - 1].affine.bias, block.conv0.affine.bias)


def test_depth_and_channels_are_read_off(tmp_path: Path) -> None:
    generator = generator_of(stored(tmp_path, ada_pickle(made(size=64, width=8, layers=3, base=512, most=12))))
    assert generator.config == GeneratorConfig(64, 8, 3, channel_base=512, channel_max=12)
    bundle = read_bundle(tmp_path / "network.pkl")
    assert bundle.source["layout"] == "stylegan2-ada"
    assert {"G", "D", "training_set_kwargs", "augment_pipe"} <= set(bundle.dropped)


def test_the_tensorflow_files_give_the_same_generator(tmp_path: Path) -> None:
    original = made(5)
    generator = generator_of(stored(tmp_path, tf_pickle(original)))
    z = torch.randn(2, original.w_dim, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(generator(z), original(z), atol=2e-5, rtol=1e-5)


def test_whole_networks_beside_it_are_passed_over(tmp_path: Path) -> None:
    original = made(1)
    path = stored(tmp_path, ada_pickle(original, G=made(2), D=made(3), augment_pipe=made(4)))
    assert torch.equal(generator_of(path).latent_avg, original.mapping.w_avg)


def test_a_clamp_that_cuts_is_reported(tmp_path: Path) -> None:
    path = stored(tmp_path, ada_pickle(made(clamp=0.5)))
    with pytest.warns(UserWarning, match=r"not cut at 0\.5"):
        read_bundle(path)
    assert "no value is cut" in read_bundle(stored(tmp_path, ada_pickle(made(clamp=256.0)))).dropped["conv_clamp"]


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"kind": "resnet"}, "architecture is 'resnet'"),
        ({"kind": "orig"}, "architecture is 'orig'"),
        ({"labels": 4}, "conditional"),
    ],
)
def test_what_our_generator_does_not_do_is_refused(sizes: dict[str, Any], named: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=named):
        read_bundle(stored(tmp_path, ada_pickle(made(**sizes))))


def test_settings_that_change_pictures_are_compared(tmp_path: Path) -> None:
    for module, name, value in (
        ("mapping.fc1", "activation", "relu"),
        ("mapping.fc0", "bias_gain", 1.0),
        ("synthesis.b8.conv0", "act_gain", 1.0),
        ("synthesis.b16.torgb", "weight_gain", 1.0),
    ):
        original = made()
        setattr(original.get_submodule(module), name, value)
        with pytest.raises(CheckpointError, match=rf"{module}\.{name} is"):
            read_bundle(stored(tmp_path, ada_pickle(original)))
    original = made()
    original.synthesis.b8.conv0.resample_filter = torch.ones(4, 4) / 16
    with pytest.raises(CheckpointError, match="filter"):
        read_bundle(stored(tmp_path, ada_pickle(original)))
    alias_free = made()
    del alias_free.synthesis.b4
    alias_free.synthesis.input = FullyConnectedLayer(4, 4)
    with pytest.raises(CheckpointError, match="alias-free generator of StyleGAN3"):
        read_bundle(stored(tmp_path, ada_pickle(alias_free)))
    with pytest.raises(CheckpointError, match="resample_kernel"):
        read_bundle(stored(tmp_path, tf_pickle(made(), resample_kernel=[1, 1])))


def test_nothing_in_a_file_is_imported_or_called(tmp_path: Path) -> None:
    """The class's source in the file raises; the function that would run it is not even looked up."""
    before = set(sys.modules)
    read_bundle(stored(tmp_path, ada_pickle(made())))
    assert "torch_utils" not in set(sys.modules) - before
    for name in ("os.system", "builtins.eval", "builtins.getattr", "torch.hub.load", "importlib.import_module"):
        module, _, function = name.rpartition(".")
        hostile = b"\x80\x02c" + f"{module}\n{function}\n".encode() + b"(X\x01\x00\x00\x00xtR."
        with pytest.raises(CheckpointError, match=f"could execute code .it calls {name}"):
            read_bundle(stored(tmp_path, hostile))


def test_a_file_cannot_change_what_its_names_mean(tmp_path: Path) -> None:
    """BUILD on a name would set attributes of our own functions in Python's unpickler."""
    hostile = b"\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aK\x01sb."
    with pytest.raises(CheckpointError, match="gives a Name a state"):
        read_bundle(stored(tmp_path, hostile))


def test_a_pickle_with_an_empty_network_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the issue has it: the network's name without its state, with `--trust` and without."""
    name = b"\x8c\x17torch_utils.persistence\x8c\x1b_reconstruct_persistent_obj\x93"
    path = stored(tmp_path, b"\x80\x04}(\x8c\x01GN\x8c\x05G_ema" + name + b")\x81u.")
    for words in ([], ["--trust"]):
        assert main(["convert", str(path), "--out", str(tmp_path / "x.safetensors"), *words]) == 2
        error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("warning: --trust")]
        assert len(error) == 1
        assert "without a state" in error[0]
        assert "--trust" not in error[0]


def test_advice_that_cannot_succeed_is_not_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A class of a program that is not here: unpickling would begin, and end in ModuleNotFoundError."""

    class Absent:
        pass

    Absent.__module__, Absent.__qualname__ = "absent_program.net", "Absent"
    sys.modules["absent_program"] = sys.modules["absent_program.net"] = type(sys)("absent_program.net")
    sys.modules["absent_program.net"].Absent = Absent  # type: ignore[attr-defined]
    try:
        torch.save({"net": Absent()}, tmp_path / "x.pt")
    finally:
        del sys.modules["absent_program"], sys.modules["absent_program.net"]
    with pytest.raises(CheckpointError, match="not installed here, so --trust would not help"):
        read_bundle(tmp_path / "x.pt")
    assert main(["convert", str(tmp_path / "x.pt"), "--out", str(tmp_path / "x.safetensors"), "--trust"]) == 2
    assert "not installed here" in capsys.readouterr().err


def test_what_trusted_code_raises_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Exits:
        def __reduce__(self) -> Any:
            return exec, ("raise SystemExit('first line\\nsecond')",)

    torch.save({"net": Exits()}, tmp_path / "x.pt")
    assert main(["convert", str(tmp_path / "x.pt"), "--out", str(tmp_path / "x.safetensors"), "--trust"]) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert "may execute code" in warning
    assert "--trust did not help: unpickling it ended in SystemExit (first line second)" in error


def test_convert_writes_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = made(9, clamp=256.0)
    target = tmp_path / "generator.safetensors"
    assert main(["convert", str(stored(tmp_path, ada_pickle(original))), "--out", str(target)]) == 0
    said = capsys.readouterr().out
    assert "stylegan2-ada" in said
    assert "the limit is 256" in said
    z = torch.randn(1, original.w_dim, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(generator_of(target)(z), original(z), atol=2e-5, rtol=1e-5)


def test_dicts_of_tensors_and_arrays_are_read(tmp_path: Path) -> None:
    from sdic.checkpoints.unpickle import load_tensors

    content = {"a": torch.arange(6.0).reshape(2, 3).t(), "b": {"c": torch.ones(3).half().numpy()}, "d": 1}
    loaded = load_tensors(stored(tmp_path, pickle.dumps(content)))
    assert torch.equal(loaded["a"], content["a"])
    assert torch.equal(loaded["b"]["c"], torch.ones(3))
    assert loaded["d"] == 1


def test_old_tensorflow_networks_are_refused(tmp_path: Path) -> None:
    path = stored(tmp_path, tf_pickle(made()).replace(b"\x8c\x07version\x94K\x04", b"\x8c\x07version\x94K\x02"))
    with pytest.raises(CheckpointError, match="before StyleGAN2"):
        read_bundle(path)
