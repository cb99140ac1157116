"""The residual network of insightface (IResNet), behind the encoders of FS and StyleFeatureEditor.

It is IR with a norm between the first convolution and its activation. Shapes: B batch, C channels, H and W.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from sdic.networks.irse import IR50, WIDTHS


class IResBlock(nn.Module):
    """norm, 3x3, norm, PReLU, 3x3 (stride), norm; plus the input, or where the shape changes its 1x1 projection."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, project: bool = False):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.act = nn.PReLU(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(out_channels)
        self.project = None
        if project:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.project = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out_channels)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm3(self.conv2(self.act(self.norm2(self.conv1(self.norm1(x))))))
        return y + (x if self.project is None else self.project(x))


class IResNet(nn.Module):
    """Stem and four stages: image [B, 3, H, W] -> the feature of each stage. The first block of a stage has its stride
    and projects; the sum of a block gets no activation."""

    def __init__(
        self,
        blocks: Sequence[int] = IR50,
        widths: Sequence[int] = WIDTHS,
        strides: Sequence[int] = (2, 2, 2, 2),
    ):
        super().__init__()
        inputs = widths[0]
        conv = nn.Conv2d(3, inputs, 3, 1, 1, bias=False)
        self.stem = nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(inputs), act=nn.PReLU(inputs)))
        self.stages = nn.ModuleList()
        for count, width, stride in zip(blocks, widths, strides, strict=True):
            first = IResBlock(inputs, width, stride, project=True)
            self.stages.append(nn.Sequential(first, *(IResBlock(width, width) for _ in range(count - 1))))
            inputs = width

    def forward(self, image: Tensor) -> list[Tensor]:
        x, features = self.stem(image), []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features
