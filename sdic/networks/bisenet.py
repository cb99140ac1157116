"""BiSeNet (Yu et al., ECCV 2018) on ResNet-18, which parses a face into 19 parts: what FS's parsing loss looks through.

Shapes: B batch, C channels, H and W height and width. The spatial path is ResNet's feature at an eighth.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 19
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for pictures in [0, 1]
SIZE = 512  # px at which faces are parsed


def conv_norm_relu(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    conv = nn.Conv2d(inputs, outputs, size, 1, size // 2, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(outputs), act=nn.ReLU()))


class Refinement(nn.Module):
    """A convolution whose channels are gated by their means."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = conv_norm_relu(inputs, outputs)
        self.gate = nn.Conv2d(outputs, outputs, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x * torch.sigmoid(self.norm(self.gate(x.mean((2, 3), keepdim=True))))


class Fusion(nn.Module):
    """Two features of one size, mixed; and the mix once more, gated by its channels' means."""

    def __init__(self, channels: int):
        super().__init__()
        self.mix = conv_norm_relu(channels, channels, 1)
        self.fc1 = nn.Conv2d(channels, channels // 4, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // 4, channels, 1, bias=False)

    def forward(self, spatial: Tensor, context: Tensor) -> Tensor:
        x = self.mix(torch.cat([spatial, context], 1))
        return x + x * torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class BiSeNet(nn.Module):
    """Picture [B, 3, H, W] in [-1, 1], of any size -> three parsings at 512 px, [B, 19, 512, 512] each: of the fused
    feature, and of the context at an eighth and a sixteenth."""

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet18

        self.body = resnet18(weights=None)
        self.body.fc = nn.Identity()
        self.refine16, self.refine32 = Refinement(256, 128), Refinement(512, 128)
        self.head16, self.head32 = conv_norm_relu(128, 128), conv_norm_relu(128, 128)
        self.mean = conv_norm_relu(512, 128, 1)
        self.fusion = Fusion(256)
        self.outputs = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=conv_norm_relu(i, o), output=nn.Conv2d(o, CLASSES, 1, bias=False)))
            for i, o in ((256, 256), (128, 64), (128, 64))
        )

    def forward(self, picture: Tensor) -> tuple[Tensor, ...]:
        x = F.interpolate(picture, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
        mean, std = (x.new_tensor(values)[:, None, None] for values in (MEAN, STD))
        eighth, sixteenth, last = self._stages(((x + 1) / 2 - mean) / std)
        context = self.refine32(last) + self.mean(last.mean((2, 3), keepdim=True))
        context16 = self.head32(F.interpolate(context, size=sixteenth.shape[2:], mode="nearest"))
        context = self.refine16(sixteenth) + context16
        context8 = self.head16(F.interpolate(context, size=eighth.shape[2:], mode="nearest"))
        parts = (self.fusion(eighth, context8), context8, context16)
        return tuple(
            F.interpolate(output(part), size=x.shape[2:], mode="bilinear", align_corners=True)
            for output, part in zip(self.outputs, parts, strict=True)
        )

    def _stages(self, x: Tensor) -> list[Tensor]:
        """ResNet's features at an eighth, a sixteenth and a thirty-second."""
        body = self.body
        x = body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(x)))))
        features = []
        for layer in (body.layer2, body.layer3, body.layer4):
            x = layer(x)
            features.append(x)
        return features
