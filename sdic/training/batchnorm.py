"""Where batch normalisation takes its statistics from while a network trains.

local: each process from its own part of the batch, as the authors (one GPU) and plain DDP do.
sync: from the whole batch, over all processes; then N processes compute what one process with the whole batch does.
frozen: the stored running statistics; nothing depends on the rest of the batch (for fine-tuning).

torch.nn.SyncBatchNorm only works on GPUs, so "sync" is done here, with any backend.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _SumOverProcesses(torch.autograd.Function):
    """y = sum of x over processes; the gradient of x is the sum over processes of the gradients of y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone()
        dist.all_reduce(total)
        return total


class GlobalBatchNorm(_BatchNorm):
    """Batch normalisation of [B, C, ...] with the statistics of all processes' batches, which must be equally large."""

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim < 3:
            raise ValueError(f"expected [B, C, ...], got {list(x.shape)}")

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        world = dist.get_world_size()
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        values = x.to(self.running_mean.dtype)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [1, -1] + [1] * (x.ndim - 2)
        # Two passes, because mean(x^2) - mean(x)^2 loses digits.
        mean = _SumOverProcesses.apply(values.mean(axes)) / world
        centred = values - mean.reshape(shape)
        variance = _SumOverProcesses.apply(centred.square().mean(axes)) / world
        with torch.no_grad():
            count = values.numel() // values.shape[1] * world
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        out = centred * torch.rsqrt(variance + self.eps).reshape(shape)
        return (out * self.weight.reshape(shape) + self.bias.reshape(shape)).to(x.dtype)


def prepare(module: nn.Module, mode: str) -> nn.Module:
    """Make every batch normalisation below `module` work in a mode, in place. Names in the state dict stay the same."""
    if mode != "sync":
        return module
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            replacement = GlobalBatchNorm(child.num_features, child.eps, child.momentum)
            replacement.load_state_dict(child.state_dict())
            setattr(module, name, replacement.to(child.weight.device).train(child.training))
        else:
            prepare(child, mode)
    return module


def set_training(module: nn.Module, mode: str) -> None:
    """Training mode for a step, with stored statistics where the mode is "frozen"."""
    module.train()
    if mode == "frozen":
        for child in module.modules():
            if isinstance(child, _BatchNorm):
                child.eval()
