"""What a run will be, before it is: parameters, sizes, an estimate of the memory it takes. For `--dry-run`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sdic.config import to_yaml
from sdic.training.task import Task

OPTIMIZER_STATES = {"ranger": 3, "ranger21": 5, "adam": 2, "soap": 4}
"""Tensors an optimiser keeps for each parameter."""


def describe(task: Task) -> str:
    """The resolved config, parameter counts, the batch's split, and the memory estimate, as text."""
    config, world = task.config, task.world
    weights, activations = memory_estimate(task)
    kept = f" + activations kept for the backward pass {activations / 2**30:.2f}" if activations else ""
    lines = [to_yaml(config).rstrip(), ""]
    for what, networks in (("trains", task.networks), ("frozen", task.frozen)):
        lines += [f"{what}: {role:24s} {count(network) / 1e6:9.3f} M parameters" for role, network in networks.items()]
    parts = f"{world.size} processes x {config.optim.accumulate} micro-batches x {task.micro_batch}"
    total = f"{(weights + activations) / 2**30:.2f} GiB = weights, gradients, optimiser {weights / 2**30:.2f}{kept}"
    lines += ["", *task.sizes(), f"{config.optim.batch} images a step: {parts}"]
    return "\n".join([*lines, f"memory a process, estimated: {total}"])


def count(module: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def memory_estimate(task: Task) -> tuple[int, int]:
    """(bytes of weights, gradients and optimiser; bytes that autograd keeps, 0 where a task cannot say), a process.

    The second is measured: the loss runs on the meta device, where tensors have sizes and no numbers, and what autograd
    keeps is added up. Workspaces of convolutions and the allocator's losses come on top.
    """
    optim = task.config.optim
    trained = sum(map(count, task.networks.values()))
    averaged = sum(count(task.networks[role]) for role in task.averaged) if optim.ema_images else 0
    weights = 4 * (trained * (2 + OPTIMIZER_STATES[optim.name]) + averaged + sum(map(count, task.frozen.values())))
    run = task.on_meta(task.micro_batch)
    if run is None:
        return weights, 0
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        base = tensor if tensor._base is None else tensor._base
        if not isinstance(base, nn.Parameter):
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
            alive.append(tensor)  # so that no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    activations = sum(kept.values())
    return weights, activations if task.config.precision == "fp32" else activations // 2
