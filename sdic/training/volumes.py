"""DIPN's 3D convolutions in float32 where half precision cannot be trusted.

On a CPU, oneDNN's half-precision gradient of a 3D convolution's weight reads memory that nobody wrote (seen with torch
2.15, 32 channels, 3x3x3): the same step gave another gradient every time, and now and then an infinite one.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Float32Conv3d(nn.Conv3d):
    """A 3D convolution that leaves autocast aside."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def keep_volumes_in_float32(network: nn.Module) -> None:
    """Let every 3D convolution below `network` compute in float32, in place; parameters and their names stay."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = Float32Conv3d
