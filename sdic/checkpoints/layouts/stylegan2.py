"""StyleGAN2 in rosinality's layout: generator and discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule, rename
from sdic.checkpoints.layouts.common import Layout, State, filled, has, read_network, state_of
from sdic.errors import CheckpointError
from sdic.networks.stylegan2 import Generator, GeneratorConfig


def _first(tensor: Tensor) -> Tensor:
    return tensor[0]  # the files keep a leading axis of one for the batch


def _scalar(tensor: Tensor) -> Tensor:
    return tensor.reshape(())


def _flat(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1)


def _is_the_fir_filter(key: str, tensor: Tensor) -> None:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    expected = torch.outer(taps, taps) / 64
    for gain in (1.0, 4.0):
        if tensor.shape == (4, 4) and torch.allclose(tensor.cpu().float(), expected * gain, atol=1e-5):
            return
    raise CheckpointError(f"{key}: the filter is not [1,3,3,1] x [1,3,3,1]; this generator was built with another one")


FIR = "the [1,3,3,1] filter is a constant of our operations (its value was checked)"

# rosinality/stylegan2-pytorch, under `g_ema`; under `decoder.` in the files of the e4e family.
GENERATOR = [
    # style.0 is a normalisation without weights, so the first linear layer is number 1
    Rule("style.{i}.{rest}", "mapping.layers.{i-1}.{rest}"),
    Rule("input.input", "synthesis.const"),
    Rule("conv1.conv.weight", "synthesis.convs.0.weight", convert=_first),
    Rule("conv1.conv.modulation.{rest}", "synthesis.convs.0.affine.{rest}"),
    Rule("conv1.noise.weight", "synthesis.convs.0.noise_strength", convert=_scalar),
    Rule("conv1.activate.bias", "synthesis.convs.0.bias"),
    Rule("to_rgb1.conv.weight", "synthesis.to_rgb.0.weight", convert=_first),
    Rule("to_rgb1.conv.modulation.{rest}", "synthesis.to_rgb.0.affine.{rest}"),
    Rule("to_rgb1.bias", "synthesis.to_rgb.0.bias", convert=_flat),
    Rule("convs.{i}.conv.weight", "synthesis.convs.{i+1}.weight", convert=_first),
    Rule("convs.{i}.conv.modulation.{rest}", "synthesis.convs.{i+1}.affine.{rest}"),
    Rule("convs.{i}.noise.weight", "synthesis.convs.{i+1}.noise_strength", convert=_scalar),
    Rule("convs.{i}.activate.bias", "synthesis.convs.{i+1}.bias"),
    Rule("convs.{i}.conv.blur.kernel", None, FIR, check=_is_the_fir_filter),
    Rule("to_rgbs.{i}.conv.weight", "synthesis.to_rgb.{i+1}.weight", convert=_first),
    Rule("to_rgbs.{i}.conv.modulation.{rest}", "synthesis.to_rgb.{i+1}.affine.{rest}"),
    Rule("to_rgbs.{i}.bias", "synthesis.to_rgb.{i+1}.bias", convert=_flat),
    Rule("to_rgbs.{i}.upsample.kernel", None, FIR, check=_is_the_fir_filter),
    Rule("noises.noise_{i}", "synthesis.convs.{i}.noise"),
]

DISCRIMINATOR = [
    Rule("convs.0.0.weight", "from_rgb.conv.weight"),
    Rule("convs.0.1.bias", "from_rgb.bias"),
    Rule("convs.{i}.conv1.0.weight", "blocks.{i-1}.conv1.conv.weight"),
    Rule("convs.{i}.conv1.1.bias", "blocks.{i-1}.conv1.bias"),
    Rule("convs.{i}.conv2.0.kernel", None, FIR, check=_is_the_fir_filter),
    Rule("convs.{i}.conv2.1.weight", "blocks.{i-1}.conv2.conv.weight"),
    Rule("convs.{i}.conv2.2.bias", "blocks.{i-1}.conv2.bias"),
    Rule("convs.{i}.skip.0.kernel", None, FIR, check=_is_the_fir_filter),
    Rule("convs.{i}.skip.1.weight", "blocks.{i-1}.skip.weight"),
    Rule("final_conv.0.weight", "final_conv.conv.weight"),
    Rule("final_conv.1.bias", "final_conv.bias"),
    Rule("final_linear.0.{rest}", "final_linear.{rest}"),
    Rule("final_linear.1.{rest}", "output.{rest}"),
]


def generator_config(state: State, what: str) -> GeneratorConfig:
    """The sizes of a rosinality generator, read off its tensors."""
    try:
        style_dim = state["style.1.weight"].shape[0]
        depth = sum(key.startswith("style.") and key.endswith(".weight") for key in state)
        blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("to_rgbs."))
        widths = [state["input.input"].shape[1]]
        widths += [state[f"convs.{2 * block}.conv.weight"].shape[1] for block in range(blocks)]
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{what}: not a whole StyleGAN2 generator, {error} is missing") from error
    resolution = 4 << blocks
    config = GeneratorConfig(resolution, style_dim, depth, channels=tuple(widths))
    standard = GeneratorConfig(resolution, style_dim, depth)
    sizes = [4 << n for n in range(blocks + 1)]
    return standard if [standard.channels_at(size) for size in sizes] == widths else config


def read_generator(
    state: State, latent_avg: Tensor | None, what: str, dropped: dict[str, str], prefix: str
) -> Generator:
    """Build a generator. Without a `latent_avg` the mean of 10,000 mapped codes is computed."""
    config = generator_config(state, what)
    renamed = rename(state, GENERATOR, what)
    dropped.update({prefix + key: reason for key, reason in renamed.dropped.items()})
    for layer in range(config.layers):  # files of other tools may lack the noise buffers
        size = config.layer_resolution(layer)
        draw = torch.Generator().manual_seed(layer)
        renamed.state.setdefault(f"synthesis.convs.{layer}.noise", torch.randn(1, 1, size, size, generator=draw))
    mean = (
        torch.zeros(config.style_dim)
        if latent_avg is None
        else latent_avg.float().reshape(-1, config.style_dim).mean(0)
    )
    renamed.state["latent_avg"] = mean
    generator = filled("generator", config, renamed, what)
    if latent_avg is None:
        generator.latent_avg.copy_(generator.mean_latent())
    return generator


def _read_stylegan2(content: Any, what: str) -> Bundle:
    dropped: dict[str, str] = {}
    for key in ("g", "g_optim", "d_optim"):
        if key in content:
            dropped[key] = "training state; the averaged generator g_ema is what is used"
    networks: dict[str, Any] = {
        "generator": read_generator(content["g_ema"], content.get("latent_avg"), what, dropped, "g_ema.")
    }
    if isinstance(content.get("d"), Mapping):
        config = networks["generator"].config
        networks["discriminator"] = read_network(
            "discriminator", config, content["d"], DISCRIMINATOR, f"{what} (d)", dropped, "d."
        )
    return Bundle(networks, {"file": what}, dropped)


LAYOUTS = {
    "stylegan2": Layout(
        "StyleGAN2 in rosinality's layout {g_ema, latent_avg}",
        lambda content: has(state_of(content, "g_ema"), "style.", "convs."),
        _read_stylegan2,
    )
}
