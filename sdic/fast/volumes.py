"""DIPN's 3D convolutions on a CPU: for training by slices (names and parameters stay), for inference in strips and by
oneDNN. The sums are those of `volume_conv`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.fast.volume_conv import HalfConv3d, conv3d_by_slices, interleave_phases, phase_weight

STRIP_BYTES = 4 << 20


class SlicedConv3d(nn.Conv3d):
    """A 3D convolution by slices where that is faster: always in half precision, else with one input channel."""

    def forward(self, x: Tensor) -> Tensor:
        device = x.device.type
        if self.in_channels > 1 and (x.is_meta or not torch.is_autocast_enabled(device)):
            return super().forward(x)
        if self.in_channels > 1:
            dtype = torch.get_autocast_dtype(device)
            bias = None if self.bias is None else self.bias.to(dtype)
            return HalfConv3d.apply(x.to(dtype), self.weight.to(dtype), bias, self.stride[0])  # type: ignore[no-any-return]
        return conv3d_by_slices(x, self.weight, self.bias, self.stride[0])


class PhasedConvTranspose3d(nn.ConvTranspose3d):
    """A transposed convolution 4x4x4 of stride 2 to one channel, as a convolution to its eight phases."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        bias = None if self.bias is None else self.bias.expand(8)
        return interleave_phases(conv3d_by_slices(x, phase_weight(self.weight), bias, 1))


def slice_volumes(network: nn.Module) -> None:
    """Let the 3D convolutions below `network` compute by slices, in place; parameters and their names stay.

    Convolutions of another form (padding other than half the kernel, dilation, groups) are left as they are.
    """
    for module in network.modules():
        if type(module) is nn.Conv3d and _by_slices(module):
            module.__class__ = SlicedConv3d
        elif type(module) is nn.ConvTranspose3d and _by_phases(module):
            module.__class__ = PhasedConvTranspose3d


def _by_slices(conv: nn.Conv3d) -> bool:
    depth, height, width = conv.kernel_size
    half = (depth // 2, height // 2, width // 2)
    plain = len(set(conv.stride)) == 1 and conv.dilation == (1, 1, 1) and conv.padding_mode == "zeros"
    return plain and depth in (1, 3) and height == width and conv.padding == half and conv.groups == 1


def _by_phases(conv: nn.ConvTranspose3d) -> bool:
    sizes = (conv.kernel_size, conv.stride, conv.padding, conv.output_padding)
    return conv.out_channels == 1 and sizes == ((4, 4, 4), (2, 2, 2), (1, 1, 1), (0, 0, 0))


class VolumeEntry(nn.Module):
    """The first two layers of the hourglass, both followed by LeakyReLU(0.01), in strips of rows.

    Volume [B, 1, N, H, W] -> [B, O, N/2, H/2, W/2]. The feature between them has eight times the numbers of the volume
    and never exists as a whole. The first layer has one input channel: as a 2D convolution over three neighbouring
    depths it runs several times faster than as a 3D one.
    """

    def __init__(self, first: nn.Conv3d, second: nn.Conv3d):
        super().__init__()
        self.first = nn.Conv2d(3, first.out_channels, 3, 1, 1)
        self.first.load_state_dict({"weight": first.weight[:, 0], "bias": first.bias})
        self.second = VolumeConv(second.in_channels, second.out_channels, 3, 2, (1, 0, 1))
        self.second.load_state_dict(second.state_dict())

    def forward(self, volume: Tensor) -> Tensor:
        return torch.cat([self._one(part) for part in volume[:, 0]])

    def _one(self, volume: Tensor) -> Tensor:
        """[N, H, W] -> [1, O, N/2, H/2, W/2]."""
        depth, height, width = volume.shape
        padded = F.pad(volume, (0, 0, 1, 1, 1, 1))  # one more depth and one more row at either end
        channels = self.first.out_channels
        rows = max(2, STRIP_BYTES // (4 * depth * width * channels) // 2 * 2)
        outputs = []
        for top in range(0, height, rows):
            bottom = min(height, top + rows)
            # Output row i of the strided layer reads rows 2i-1 .. 2i+1 of the first layer.
            first, last = top - 1, bottom + bottom % 2
            low, high = max(0, first), min(height, last)
            part = padded[:, low : high + 2]  # with the rows above and below (row r of the volume is row r+1 here)
            x = torch.stack([part[:-2], part[1:-1], part[2:]], -1).permute(0, 3, 1, 2)  # [N, 3, rows, W], channels last
            y = F.conv2d(x, self.first.weight, self.first.bias, padding=(0, 1))
            y = F.leaky_relu_(y, 0.01)
            y = y.permute(1, 0, 2, 3)[None]  # [1, C, N, rows, W], channels last in memory
            if low > first or high < last:
                y = F.pad(y, (0, 0, low - first, last - high))
            outputs.append(F.leaky_relu_(self.second(y), 0.01))
        return torch.cat(outputs, 3) if len(outputs) > 1 else outputs[0]


class VolumeConv(nn.Conv3d):
    """A 3D convolution by oneDNN; for one small or flat volume torch takes another way, up to eight times slower."""

    def forward(self, x: Tensor) -> Tensor:
        if not torch.backends.mkldnn.is_available() or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        padding = list(self.padding)  # type: ignore[arg-type]
        return torch.ops.aten.mkldnn_convolution(x, self.weight, self.bias, padding, list(self.stride), [1, 1, 1], 1)


class PhasedUpsampling(nn.Module):
    """A transposed convolution 4x4x4 of stride 2 to one channel, as one 3x3x3 convolution to its eight phases.

    [B, C, N, H, W] -> [B, 1, 2N, 2H, 2W].
    """

    def __init__(self, conv: nn.ConvTranspose3d):
        super().__init__()
        self.phases = VolumeConv(conv.in_channels, 8, 3, padding=1, bias=conv.bias is not None)
        self.phases.weight.copy_(phase_weight(conv.weight))
        if conv.bias is not None:
            self.phases.bias.copy_(conv.bias.expand(8))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return interleave_phases(self.phases(x))
