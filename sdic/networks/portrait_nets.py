"""Small networks of a domain of one's own: attributes and perceptual features, identity, and e4e's latent critic.

Shapes: B batch, H and W height and width (equal), D style width, E embedding width. Pictures are [B, 3, H, W] in
[-1, 1]. "Portraits" are the domain they were made for; nothing in them knows what a portrait is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.errors import ConfigError
from sdic.networks.irse import IRBody

GRID = 4  # side of the last feature as the linear layer gets it, whatever the size of the picture


@dataclass(frozen=True)
class AttributeConfig:
    """names, centers, spans: attribute i is `centers[i] + spans[i] * output[i]`, in its own unit (degrees, years).
    extra: further outputs that are trained beside them, so that the features know everything that is in a picture.
    widths: channels at full size, 1/2, 1/4, ...
    hidden: width of the layer before the outputs, the feature of FID.
    """

    names: tuple[str, ...] = ("yaw", "smile", "age")
    centers: tuple[float, ...] = (0.0, 0.0, 45.0)
    spans: tuple[float, ...] = (18.0, 0.5, 20.0)
    extra: int = 0
    widths: tuple[int, ...] = (32, 48, 64, 96, 128)
    hidden: int = 256

    def __post_init__(self) -> None:
        for name in ("names", "centers", "spans", "widths"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not len(self.names) == len(self.centers) == len(self.spans):
            raise ConfigError(f"attributes need one center and one span each, got {self}")
        if not self.widths or min(self.spans, default=1.0) <= 0:
            raise ConfigError(f"attributes need channels and positive spans, got {self}")


class AttributeNet(nn.Module):
    """Picture -> attributes [B, len(names)] in their units; its features are the domain's perceptual network.

    Each stage is two 3x3 convolutions with batch normalisation; an average pool between stages keeps the features free
    of aliasing, which a distance that is to be minimised needs.
    """

    def __init__(self, config: AttributeConfig):
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList()
        inputs = 3
        for width in config.widths:
            self.stages.append(nn.Sequential(_conv(inputs, width), _conv(width, width)))
            inputs = width
        self.hidden = nn.Linear(inputs * GRID**2, config.hidden)
        self.output = nn.Linear(config.hidden, len(config.names) + config.extra)

    def forward(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, len(names)], in the attributes' units."""
        return self.in_units(self.outputs(self.pooled(picture)))

    def features(self, picture: Tensor) -> list[Tensor]:
        """The feature of every stage: [B, widths[i], H / 2^i, W / 2^i]."""
        found, x = [], picture
        for index, stage in enumerate(self.stages):
            x = stage(F.avg_pool2d(x, 2) if index else x)
            found.append(x)
        return found

    def pooled(self, picture: Tensor) -> Tensor:
        """[B, hidden]: the feature of the Fréchet distance."""
        x = F.adaptive_avg_pool2d(self.features(picture)[-1], GRID)
        return F.leaky_relu(self.hidden(x.flatten(1)), 0.2)

    def outputs(self, pooled: Tensor) -> Tensor:
        """[B, hidden] -> [B, len(names) + extra], as trained: attributes in spans from their centers, then the rest."""
        return self.output(pooled)

    def in_units(self, outputs: Tensor) -> Tensor:
        """The first columns of `outputs` in the attributes' units: [B, len(names)], float32."""
        scaled = outputs[:, : len(self.config.names)].float()
        return scaled * scaled.new_tensor(self.config.spans) + scaled.new_tensor(self.config.centers)

    def normalised(self, values: Tensor) -> Tensor:
        """The inverse of `in_units`: what the first outputs should be for attributes [B, len(names)]."""
        return (values - values.new_tensor(self.config.centers)) / values.new_tensor(self.config.spans)


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, inplace=True)
    )


class AttributeDistance(nn.Module):
    """LPIPS's distance on the features of an AttributeNet, without learned heads: called like LPIPS, frozen as it is.

    d = mean over stages of the mean over positions of ||f_a/|f_a| - f_b/|f_b|||^2, f the channels at a position.
    `name` keeps its numbers apart from LPIPS's: the two are not on one scale.
    """

    def __init__(self, network: AttributeNet, name: str = "perceptual"):
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.name = name

    def train(self, mode: bool = True) -> AttributeDistance:
        """Stays in eval mode whatever is asked for."""
        return super().train(False)

    def forward(self, photo: Tensor, output: Tensor) -> Tensor:
        """Distance of each pair: [B] in [0, 4], 0 for equal pictures."""
        distances = []
        for a, b in zip(self.network.features(photo), self.network.features(output), strict=True):
            apart = F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)
            distances.append(apart.square().sum(1).mean((1, 2)))
        return torch.stack(distances).mean(0)


@dataclass(frozen=True)
class PortraitEmbedderConfig:
    """size: side in pixels at which pictures are looked at. blocks, widths: the IR-SE body. embedding: E."""

    size: int = 128
    blocks: tuple[int, int, int, int] = (1, 2, 2, 1)
    widths: tuple[int, int, int, int] = (32, 64, 96, 128)
    embedding: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        object.__setattr__(self, "widths", tuple(self.widths))
        if self.size < 32 or self.size % 16:
            raise ConfigError(f"the identity network's size must be a multiple of 16 from 32 on, got {self.size}")


class PortraitEmbedder(nn.Module):
    """ArcFace's form in small: IR-SE body, norm, linear, norm; picture [B, 3, H, W] -> unit vector [B, E]."""

    def __init__(self, config: PortraitEmbedderConfig):
        super().__init__()
        self.config = config
        self.body = IRBody(config.blocks, config.widths, se=True)
        self.norm1 = nn.BatchNorm2d(config.widths[-1])
        self.linear = nn.Linear(config.widths[-1] * (config.size // 16) ** 2, config.embedding)
        self.norm2 = nn.BatchNorm1d(config.embedding)

    def forward(self, picture: Tensor) -> Tensor:
        """[B, 3, H, W] of any size -> [B, E], unit norm; smaller pictures are enlarged, larger ones averaged down."""
        if picture.shape[2:] != (self.config.size, self.config.size):
            if picture.shape[2] > self.config.size:
                picture = F.adaptive_avg_pool2d(picture, self.config.size)
            else:
                size = (self.config.size, self.config.size)
                picture = F.interpolate(picture, size=size, mode="bilinear", align_corners=False)
        x = self.norm1(self.body(picture)[-1])
        return F.normalize(self.norm2(self.linear(x.flatten(1))).float())

    def embed(self, picture: Tensor) -> Tensor:
        """The same as calling it: the domain's pictures need no crop."""
        return self(picture)


class LatentCritic(nn.Module):
    """e4e's latent discriminator: codes [B, D] -> whether each is from the mapping network, logits [B, 1].

    A multilayer perceptron of `layers` hidden layers with leaky ReLU(0.2). The layers are plain: StyleGAN2's equalized
    ones keep weights of order 1, which the paper's learning rate of 2e-5 does not move in the time of a training.
    """

    def __init__(self, style_dim: int, width: int = 512, layers: int = 3):
        super().__init__()
        sizes = [style_dim, *[width] * layers]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))
        self.output = nn.Linear(sizes[-1], 1)

    def forward(self, code: Tensor) -> Tensor:
        for layer in self.layers:
            code = F.leaky_relu(layer(code), 0.2)
        return self.output(code)


class ParameterEncoder(nn.Module):
    """Known parameters [B, P] -> code w [B, D]: a linear map and a small correction, for the supervised stage only.

    The linear part makes W a space in which every parameter has a direction; the correction, which starts at zero, is
    what the synthesis finds easier to have bent. `mean` and `std` [P] standardise the parameters.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, parameters: int, style_dim: int, width: int = 256):
        super().__init__()
        self.register_buffer("mean", torch.zeros(parameters))
        self.register_buffer("std", torch.ones(parameters))
        self.linear = nn.Linear(parameters, style_dim)
        nn.init.orthogonal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        last = nn.Linear(width, style_dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.bend = nn.Sequential(nn.Linear(parameters, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)

    def forward(self, vector: Tensor) -> Tensor:
        x = (vector - self.mean) / self.std
        return self.linear(x) + self.bend(x)
