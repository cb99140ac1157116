"""Networks that say whether two pictures show the same person, or the same thing.

Shapes: B batch. All take pictures in [-1, 1] of any size and return unit vectors.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.networks.iresnet import IResNet
from sdic.networks.irse import IR50, IR101, IRBody


class FaceEmbedder(nn.Module):
    """ArcFace IR-SE50 (`arcface`) or CurricularFace IR-101 (`curricularface`): aligned face -> unit vector [B, 512].

    `forward` takes [B, 3, 112, 112]; `embed` takes an FFHQ-aligned picture of any size and crops it as pSp and its
    successors do: rows 35:223 and columns 32:220 of 256, averaged down to 112.
    """

    def __init__(self, kind: str):
        super().__init__()
        if kind not in ("arcface", "curricularface"):
            raise ValueError(f"kind must be arcface or curricularface, got {kind!r}")
        arcface = kind == "arcface"
        self.body = IRBody(IR50 if arcface else IR101, se=arcface)
        self.norm1 = nn.BatchNorm2d(512)
        self.linear = nn.Linear(512 * 7 * 7, 512)
        self.norm2 = nn.BatchNorm1d(512, affine=arcface)

    def forward(self, face: Tensor) -> Tensor:
        x = self.norm1(self.body(face)[-1])
        return F.normalize(self.norm2(self.linear(x.flatten(1))))

    def embed(self, picture: Tensor) -> Tensor:
        """FFHQ-aligned picture [B, 3, H, W] -> [B, 512]."""
        if picture.shape[2:] != (256, 256):
            picture = F.adaptive_avg_pool2d(picture, (256, 256))
        return self(F.adaptive_avg_pool2d(picture[:, :, 35:223, 32:220], (112, 112)))


class IResNetEmbedder(nn.Module):
    """insightface's ArcFace on IResNet-50, by which FS compares faces: picture [B, 3, H, W] -> unit vector [B, N].

    The four stages and the embedding, each as a unit vector, one after the other and over sqrt(5): the cosine of two is
    the mean of the five. Pictures are brought to 112x112 by nearest neighbour, whole.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = IResNet()
        self.norm1 = nn.BatchNorm2d(512)
        self.linear = nn.Linear(512 * 7 * 7, 512)
        self.norm2 = nn.BatchNorm1d(512)

    def outputs(self, picture: Tensor) -> list[Tensor]:
        """The four stages [B, C, h, w] and the embedding [B, 512]."""
        stages = self.body(F.interpolate(picture, size=(112, 112), mode="nearest"))
        return [*stages, self.norm2(self.linear(self.norm1(stages[-1]).flatten(1)))]

    def embed(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, N]."""
        parts = [F.normalize(output.flatten(1)) for output in self.outputs(picture)]
        return torch.cat(parts, 1) / len(parts) ** 0.5

    def forward(self, picture: Tensor) -> Tensor:
        return self.embed(picture)


class MoCoEmbedder(nn.Module):
    """ResNet-50 trained by MoCo v2, for domains without faces: picture [B, 3, H, W] -> unit vector [B, 2048].

    As e4e, SDIC and their successors do, so that numbers compare: pictures are brought to 224x224 by nearest neighbour,
    and not normalised as the network's own training does it.
    """

    def __init__(self) -> None:
        super().__init__()
        from torchvision.models import resnet50

        self.body = resnet50(weights=None)
        self.body.fc = nn.Identity()

    def forward(self, picture: Tensor) -> Tensor:
        return F.normalize(self.body(F.interpolate(picture, size=(224, 224), mode="nearest")))

    def embed(self, picture: Tensor) -> Tensor:
        """The same as calling it: this network has no crop of its own."""
        return self(picture)
