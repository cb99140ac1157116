"""DIPN, the discrepancy information prediction network: photo and first reconstruction -> discrepancy map.

Shapes: B batch, H and W the size everything in SDIC happens at (256x256; 192x256 for cars), C channels. A volume is
[B, C, N, H, W]: the 2D features of both pictures become its depth axis of N.

`DIPNConfig(preset="released")` is what the authors' weights need, "paper" what the text says; method section and
equation numbers are the paper's. docs/paper_vs_release.md lists the differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.networks.irse import IRBlock
from sdic.networks.layers import ConvNormAct, conv2d_norm, conv3d_norm, up2d_norm, up3d_norm
from sdic.settings import require

Preset = Literal["released", "paper"]
MapSource = Literal["predicted", "difference", "refined"]


@dataclass(frozen=True)
class DIPNConfig:
    """preset: "released" or "paper".
    spatial_contextual: the two-branch module (Table 2, Figure 4a); without it both pictures go straight into the
    volume.
    attention: fuse guides by spatial attention (eq. 1-2); without it they are added.
    map: what the discrepancy map is: "predicted" by the network, as in the paper; "difference", the plain I - R_o, with
    no network at all; "refined", the difference and a share of the prediction, which begins at 0. Ours: for trainings
    of minutes, in which a prediction from nothing does not yet say anything.
    """

    preset: Preset = "released"
    spatial_contextual: bool = True
    attention: bool = True
    map: MapSource = "predicted"

    def __post_init__(self) -> None:
        known = ("predicted", "difference", "refined")
        require(self.map in known, f"map must be 'predicted', 'difference' or 'refined', got {self.map!r}")
        require(self.preset in ("released", "paper"), f"preset must be 'released' or 'paper', got {self.preset!r}")


ENCODER = (16, 24, 32, 96, 160)  # channels of the five 3x3 convolutions, strides 1, 2, 1, 2, 2
VOLUME = (8, 16, 32, 48)  # channels of the volume at 1, 1/2, 1/4, 1/8
GUIDES = (160, 192, 64)  # channels of the guides C_1, C_2, C_3 at 1/8, 1/4, 1/2


class BranchEncoder(nn.Module):
    """Five 3x3 convolutions: [B, 3, H, W] -> features at 1, 1/2, 1/4, 1/8."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *ENCODER[:-1])
        self.convs = nn.ModuleList(
            conv2d_norm(i, o, 3, s) for i, o, s in zip(inputs, ENCODER, (1, 2, 1, 2, 2), strict=True)
        )

    def forward(self, picture: Tensor) -> list[Tensor]:
        features = []
        x = picture
        for index, conv in enumerate(self.convs):
            x = conv(x)
            if index != 1:  # the second convolution is followed by another one at the same size
                features.append(x)
        return features


class UpMerge(nn.Module):
    """Double the size, concatenate the skip, 3x3: [B, I, h, w] and [B, O, 2h, 2w] -> [B, 2 O, 2h, 2w]."""

    def __init__(self, in_channels: int, out_channels: int, preset: Preset):
        super().__init__()
        # Released: transposed 4x4. Paper: nearest neighbour, then 4x4 convolution with stride 1.
        self.nearest = preset == "paper"
        conv4x4 = ConvNormAct(nn.Conv2d(in_channels, out_channels, 4, bias=False), out_channels, 2)
        self.up = conv4x4 if self.nearest else up2d_norm(in_channels, out_channels)
        self.merge = conv2d_norm(2 * out_channels, 2 * out_channels)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        if self.nearest:
            x = F.pad(F.interpolate(x, scale_factor=2, mode="nearest"), (1, 2, 1, 2))
        x = match_size(self.up(x), skip)
        return self.merge(torch.cat([x, skip], 1))


class UpPath(nn.Module):
    """The U-Net way up, shared by both branches: features at 1, 1/2, 1/4, 1/8 -> at 1, 1/2, 1/4, 1/8, merged."""

    def __init__(self, preset: Preset):
        super().__init__()
        self.to_quarter = UpMerge(160, 96, preset)
        self.to_half = UpMerge(192, 32, preset)
        self.to_full = UpMerge(64, 16, preset)
        self.output = conv2d_norm(32, 32)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        full, half, quarter, eighth = features
        quarter = self.to_quarter(eighth, quarter)
        half = self.to_half(quarter, half)
        full = self.output(self.to_full(half, full))
        return [full, half, quarter, eighth]


class BranchOutput(nn.Module):
    """Features at full size -> one branch's half of the volume's depth axis: [B, 32, H, W] -> [B, depth, H, W]."""

    def __init__(self, preset: Preset):
        super().__init__()
        self.conv = conv2d_norm(32, 48)
        self.describe = nn.Conv2d(48, 24, 1) if preset == "released" else nn.Identity()
        self.depth = 24 if preset == "released" else 48

    def forward(self, x: Tensor) -> Tensor:
        return self.describe(self.conv(x))


class GuidedFusion(nn.Module):
    """Spatial attention fusion of a volume with a guide of the photo (eq. 1 and 2).

    volume [B, C, N, h, w], guide [B, G, h, w] -> [B, C, N, h, w].
    """

    def __init__(self, channels: int, guide_channels: int, preset: Preset, attention: bool):
        super().__init__()
        self.guide: nn.Module
        self.attention: nn.Module | None = None
        if preset == "released":  # 2D guide, broadcast over depth
            hidden = guide_channels // 2
            self.guide = nn.Sequential(conv2d_norm(guide_channels, hidden, 1), nn.Conv2d(hidden, channels, 1))
            if attention:
                self.attention = nn.Sequential(
                    conv3d_norm(channels, channels, (1, 5, 5)), nn.Conv3d(channels, channels, 1, bias=False)
                )
            self.output: nn.Module = conv3d_norm(channels, channels, (1, 5, 5))
        else:  # a 3D convolution gives the guide the dimensions of the volume
            self.guide = nn.Conv3d(1, channels, 3, 1, 1)
            self.output = nn.Identity()
            if attention:
                self.attention = nn.Conv3d(channels, channels, 5, 1, 2)
        self.broadcast = preset == "released"

    def forward(self, volume: Tensor, guide: Tensor) -> Tensor:
        if self.broadcast:
            guide = self.guide(guide).unsqueeze(2)
        else:
            guide = F.interpolate(guide.unsqueeze(1), size=(volume.shape[2], *guide.shape[2:]), mode="nearest")
            guide = self.guide(guide)
        # eq. 1: W = sigmoid(f(G + C)); eq. 2: G' = W * C + G
        weight = torch.sigmoid(self.attention(guide + volume)) if self.attention is not None else 1.0
        return self.output(weight * guide + volume)


class DiscrepancyHourglass(nn.Module):
    """Volume [B, 1, N, H, W] and guides at 1/8, 1/4, 1/2 -> [B, N, H, W]. Depth is halved along with the size."""

    def __init__(self, config: DIPNConfig):
        super().__init__()
        released = config.preset == "released"
        full, half, quarter, eighth = VOLUME
        self.down = nn.ModuleList(
            [
                nn.Sequential(conv3d_norm(1, full), conv3d_norm(full, half, 3, 2), conv3d_norm(half, half)),
                nn.Sequential(conv3d_norm(half, quarter, 3, 2), conv3d_norm(quarter, quarter)),
                nn.Sequential(conv3d_norm(quarter, eighth, 3, 2), conv3d_norm(eighth, eighth)),
            ]
        )
        self.fuse = nn.ModuleList()
        if config.spatial_contextual:
            for channels, guide in zip((eighth, quarter, half), GUIDES, strict=True):
                self.fuse.append(GuidedFusion(channels, guide, config.preset, config.attention))
        self.up = nn.ModuleList([up3d_norm(eighth, quarter), up3d_norm(quarter, half)])
        self.merge = nn.ModuleList()
        for channels in (quarter, half):
            convs = [conv3d_norm(channels, channels), conv3d_norm(channels, channels)]
            if released:  # concatenates the feature of the way down
                convs.insert(0, conv3d_norm(2 * channels, channels, 1))
            self.merge.append(nn.Sequential(*convs))
        self.up_last = nn.ConvTranspose3d(half, 1, 4, 2, 1, bias=not released)
        self.concatenate = released

    def forward(self, volume: Tensor, guides: Sequence[Tensor]) -> Tensor:
        half = self.down[0](volume)
        quarter = self.down[1](half)
        x = self.down[2](quarter)
        for index, skip in enumerate((quarter, half)):
            x = match_size(self.up[index](self._fuse(index, x, guides)), skip)
            x = self.merge[index](torch.cat([x, skip], 1) if self.concatenate else x)
        return match_size(self.up_last(self._fuse(2, x, guides)), volume).squeeze(1)

    def _fuse(self, index: int, volume: Tensor, guides: Sequence[Tensor]) -> Tensor:
        return self.fuse[index](volume, guides[index]) if guides else volume


class DIPN(nn.Module):
    """Photo I, first reconstruction R_o, [B, 3, H, W] in [-1, 1] -> discrepancy map D [B, 3, H, W], unbounded."""

    def __init__(self, config: DIPNConfig):
        super().__init__()
        self.config = config
        if config.map == "difference":
            return
        if config.map == "refined":
            self.share = nn.Parameter(torch.zeros(()))
        if config.spatial_contextual:
            self.photo_encoder = BranchEncoder()  # same structure, weights of its own
            self.initial_encoder = BranchEncoder()
            self.up_path = UpPath(config.preset)
            self.branch_output = BranchOutput(config.preset)
            depth = 2 * self.branch_output.depth
        else:
            depth = 6
        self.hourglass = DiscrepancyHourglass(config)
        if config.preset == "released":
            self.head = nn.Sequential(
                conv2d_norm(depth, 16),
                nn.Conv2d(16, 16, 3, 1, 1, bias=False),
                nn.BatchNorm2d(16),
                nn.ReLU(),
                IRBlock(16, 3),
                IRBlock(3, 3),
                IRBlock(3, 3),
            )
        else:  # G_4 of size 1x3xHxW, then one 3x3: the depth axis is brought to 3 by a 1x1 convolution
            self.head = nn.Sequential(nn.Conv2d(depth, 3, 1), nn.Conv2d(3, 3, 3, 1, 1))

    def forward(self, photo: Tensor, initial: Tensor) -> Tensor:
        if photo.shape != initial.shape:
            raise ValueError(
                f"photo and reconstruction must have one shape, got {list(photo.shape)} and {list(initial.shape)}"
            )
        if self.config.map == "difference":
            return photo - initial
        if self.config.map == "refined":
            return photo - initial + self.share * self.predict(photo, initial)
        return self.predict(photo, initial)

    def predict(self, photo: Tensor, initial: Tensor) -> Tensor:
        """The network's own part of the map."""
        guides: list[Tensor] = []
        if self.config.spatial_contextual:
            photo_features = self.up_path(self.photo_encoder(photo))
            initial_features = self.up_path(self.initial_encoder(initial))
            volume = torch.cat([self.branch_output(features[0]) for features in (photo_features, initial_features)], 1)
            guides = photo_features[:0:-1]  # C_1, C_2, C_3 come from the photo alone
        else:
            volume = torch.cat([photo, initial], 1)
        return self.head(self.hourglass(volume.unsqueeze(1), guides))


def match_size(x: Tensor, other: Tensor) -> Tensor:
    """Nearest resize of x [B, C, ...] to the size of `other`, where an odd size made them differ."""
    return x if x.shape[2:] == other.shape[2:] else F.interpolate(x, size=other.shape[2:], mode="nearest")
