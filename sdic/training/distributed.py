"""One process or many: who am I, and the few things that processes say to each other.

Started by torchrun there are WORLD_SIZE processes; started plainly there is one, and everything here does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sdic.errors import SdicError
from sdic.utils.tensors import resolve_device


@dataclass(frozen=True)
class World:
    """rank of this process among `size`, and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes of a tensor, on every one of them."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def gather(self, item: Any) -> list[Any]:
        """Every process's picklable item, in the order of ranks, on every one of them."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def end_if(self, problem: str) -> None:
        """SdicError on every process where any of them has a problem: none waits for one that is gone."""
        for found in self.gather(problem):
            if found:
                raise SdicError(found)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over processes, in one piece (parameters without one are left out)."""
        if self.size > 1:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            flat = self.mean(torch.cat([gradient.flatten() for gradient in gradients]))
            for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(part.view_as(gradient))

    def together(self, rows: Tensor) -> Tensor:
        """Every process's rows [B, ...] as one [B * size, ...], in the order in which one process would have them."""
        if self.size == 1:
            return rows
        parts = [torch.empty_like(rows) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.stack(parts, 1).flatten(0, 1)

    def share_buffers(self, module: nn.Module) -> None:
        """Give every process the first one's buffers (running statistics of normalisation)."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def close(self) -> None:
        """Leave the process group."""
        if self.size > 1 and dist.is_initialized():
            dist.destroy_process_group()


def join(device: str = "auto") -> World:
    """Join the processes that torchrun started: NCCL on GPUs, gloo elsewhere; under torchrun each takes its own GPU."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = resolve_device(device, one_size=True)
    if size == 1:
        return World(0, 1, chosen)
    if chosen.type == "cuda" and chosen.index is None:
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return World(dist.get_rank(), dist.get_world_size(), chosen)
