"""What a run will be, before it is: parameters, sizes, an estimate of the memory it takes. For `--dry-run`."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from sdic.config import to_yaml
from sdic.losses.joint import JointLoss
from sdic.training.config import TrainConfig
from sdic.training.features import Features
from sdic.training.stack import Stack, trainable
from sdic.training.step import FirstPass, second_pass

OPTIMIZER_STATES = {"ranger": 3, "ranger21": 5, "adam": 2, "soap": 4}
"""Tensors an optimiser keeps for each parameter."""


def describe(config: TrainConfig, stack: Stack, features: Features, loss: JointLoss, world_size: int) -> str:
    """The resolved config, parameter counts, picture sizes, and the memory estimate, as text."""
    weights, activations = memory_estimate(config, stack, features, loss, world_size)
    rows = [
        ("trains: DIPN", stack.compensator.dipn),
        ("trains: DICN", stack.compensator.dicn),
        ("frozen: generator", stack.generator),
        ("frozen: e4e", stack.encoder),
        (f"frozen: {getattr(features.lpips, 'name', 'lpips')}", features.lpips),
        ("frozen: identity", features.embedder),
    ]
    lines = [to_yaml(config).rstrip(), ""]
    lines += [f"{name:20s} {count(module) / 1e6:9.3f} M parameters" for name, module in rows if module is not None]
    geometry, sizes = stack.geometry, stack.generator.config
    height, width = geometry.input_size
    feature = sizes.layer_resolution(stack.layer)
    lines += [
        "",
        f"photos at {width}x{height}, output {sizes.resolution} px, codes {sizes.latent_rows}x{sizes.style_dim}, "
        f"feature {sizes.layer_channels(stack.layer)}x{feature}x{feature} at layer {stack.layer}",
        f"{config.optim.batch} photos a step: {world_size} processes x {config.optim.accumulate} micro-batches x "
        f"{micro_batch(config, world_size)}",
        f"memory a process, estimated: {(weights + activations) / 2**30:.2f} GiB = weights, gradients, optimiser "
        f"{weights / 2**30:.2f} + activations kept for the backward pass {activations / 2**30:.2f}",
    ]
    return "\n".join(lines)


def count(module: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def micro_batch(config: TrainConfig, world_size: int) -> int:
    """Photos of one process in one micro-batch."""
    return config.optim.batch // (world_size * config.optim.accumulate)


def memory_estimate(
    config: TrainConfig, stack: Stack, features: Features, loss: JointLoss, world_size: int
) -> tuple[int, int]:
    """(bytes of weights, gradients and optimiser; bytes that autograd keeps), of one process.

    The second is measured: the second pass and the loss run on the meta device, where tensors have sizes and no
    numbers, and what autograd keeps is added up. Workspaces of convolutions and the allocator's losses come on top.
    """
    modules = [stack.generator, stack.encoder, stack.compensator, features.lpips, features.embedder]
    weights = 4 * sum(count(module) for module in modules if module is not None)
    trained = sum(parameter.numel() for parameter in trainable(stack.compensator))
    weights += 4 * trained * (1 + OPTIMIZER_STATES[config.optim.name] + (config.optim.ema > 0))
    meta: Any = copy.deepcopy((stack.generator, stack.compensator, loss))
    for module in meta:
        module.to("meta")
    generator, compensator, meta_loss = meta
    parameters = {id(parameter) for module in meta for parameter in module.parameters()}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        base = tensor if tensor._base is None else tensor._base
        if id(base) not in parameters and id(tensor) not in parameters:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            alive.append(tensor)  # so that no address is used twice
        return tensor

    batch, geometry = micro_batch(config, world_size), stack.geometry
    sizes = generator.config
    photo = torch.empty(batch, 3, *geometry.input_size, device="meta")
    channels, size = sizes.layer_channels(stack.layer), sizes.layer_resolution(stack.layer)
    first = FirstPass(
        torch.empty(batch, sizes.latent_rows, sizes.style_dim, device="meta"),
        torch.empty(batch, channels, size, size, device="meta"),
        photo,
    )
    compensator.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        enhanced = compensator(photo, first.initial, first.latent, first.feature)
        recompute = config.model.activation_checkpointing
        image = second_pass(generator.synthesis, enhanced, stack.layer, "fixed", recompute)
        meta_loss(photo, geometry.at_input_size(image), first.latent, enhanced.latent, first.feature, enhanced.feature)
    activations = sum(kept.values())
    return weights, activations if config.precision == "fp32" else activations // 2
