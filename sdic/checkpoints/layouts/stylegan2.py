"""StyleGAN2 in rosinality's layout: generator and discriminator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule, beside, is_plain
from sdic.checkpoints.layouts.common import Layout, State, find_state, read_network, set_aside, unwrapped
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
    Rule("latent_avg", "latent_avg"),  # put there by the reader: files have it beside the state dict, or not at all
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
    except KeyError as error:
        raise CheckpointError(
            f"{what}: not a whole StyleGAN2 generator: expected {beside(error.args[0], state)}"
        ) from error
    except (ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{what}: not a whole StyleGAN2 generator ({error})") from error
    resolution = 4 << blocks
    config = GeneratorConfig(resolution, style_dim, depth, channels=tuple(widths))
    standard = GeneratorConfig(resolution, style_dim, depth)
    sizes = [4 << n for n in range(blocks + 1)]
    return standard if [standard.channels_at(size) for size in sizes] == widths else config


def mean_rows(latent_avg: Any, config: GeneratorConfig, what: str) -> Tensor | None:
    """The mean code of a file as [1, D] or [L, D]; it is [D] there, or [1, D], [L, D], [1, L, D]. None stays None."""
    if latent_avg is None:
        return None
    if not (
        is_plain(latent_avg)
        and latent_avg.is_floating_point()
        and not latent_avg.is_meta
        and latent_avg.isfinite().all()
    ):
        raise CheckpointError(f"{what}: latent_avg is not a tensor of finite numbers")
    shape, (rows, width) = list(latent_avg.shape), (config.latent_rows, config.style_dim)
    if shape not in ([width], [1, width], [rows, width], [1, 1, width], [1, rows, width]):
        raise CheckpointError(f"{what}: latent_avg is {shape}, the generator has rows [{rows}, {width}]")
    return latent_avg.float().reshape(-1, width)


def read_generator(state: State, latent_avg: Any, bundle: Bundle, prefix: str) -> Generator:
    """Read a generator into a bundle. Without a `latent_avg` the mean of many mapped codes is computed, without noise
    buffers they are drawn: `assumed` says so."""
    what = bundle.source["file"]
    config = generator_config(state, what)
    mean = mean_rows(latent_avg, config, what)
    state = {**state, "latent_avg": torch.zeros(config.style_dim) if mean is None else mean.mean(0)}
    for layer in range(config.layers):
        if f"noises.noise_{layer}" not in state:
            size = config.layer_resolution(layer)
            noise = torch.randn(1, 1, size, size, generator=torch.Generator().manual_seed(layer))
            state[f"noises.noise_{layer}"] = noise
            if layer == 0:
                bundle.assume("it holds no noise buffers: drawn from a seed")
    generator: Generator = read_network(bundle, "generator", config, state, GENERATOR, prefix)
    if mean is None:
        generator.latent_avg.copy_(generator.mean_latent())
        bundle.assume("it holds no latent_avg: the mean of mapped codes, computed here")
    return generator


def _read(content: Any, bundle: Bundle) -> None:
    place, state = find_state(content, *NEEDS)
    set_aside(content, place, ("latent_avg", "d"), bundle.dropped)
    latent_avg = content.get("latent_avg", state.get("latent_avg"))
    generator = read_generator(state, latent_avg, bundle, f"{place}." if place else "")
    if isinstance(content.get("d"), Mapping):
        read_network(bundle, "discriminator", generator.config, unwrapped(content["d"]), DISCRIMINATOR, "d.")


NEEDS = ("style.", "convs.")
LAYOUTS = {"stylegan2": Layout("StyleGAN2 in rosinality's layout {g_ema, latent_avg}", NEEDS, _read)}
