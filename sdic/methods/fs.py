"""FS, the Feature-Style encoder (Yao et al., ECCV 2022): a code and a feature of the generator, found side by side.

Shapes: B batch, H and W input size, L latent rows, D style width, C/h/w the feature, R output size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdic.changes import Noise
from sdic.checkpoints import read_bundle
from sdic.errors import ConfigError
from sdic.methods.features import made_or_held
from sdic.methods.next_feature import NextFeatureInverter, encoder_sizes, ramp_of
from sdic.methods.passes import Step, TrainingPass
from sdic.methods.registry import register
from sdic.networks.feature_style import FeatureStyleEncoder
from sdic.networks.stylegan2 import Generator
from sdic.settings import at_least, setting
from sdic.types import Geometry, Inversion

ROLE = "feature_style"


@dataclass
class FSSettings:
    """What a training says about the encoder and its pictures."""

    layer: int = setting(4, "the feature enters behind this layer of the generator, an even one")
    blocks: list[int] = setting([3, 4, 14, 3], "blocks of the encoder's four stages")
    widths: list[int] = setting([64, 128, 256, 512], "channels of its four stages")
    strides: list[int] = setting([2, 2, 2, 2], "strides of its four stages")
    content_strides: list[int] = setting([1, 2], "strides of the two convolutions from its third stage to the feature")
    backbone: str = setting("", "a file of insightface's IResNet-50, from which the stages begin; empty: from nothing")
    drawn: bool = setting(True, "beside the photos as many pictures of the generator, whose noise is known")
    ramp: int = setting(10_000, "images over which the feature replaces the generator's own, step by step; 0: at once")

    def __post_init__(self) -> None:
        at_least(self, 0, "ramp", "model.")


@dataclass
class FSLosses:
    """Terms of FS alone."""

    pixel: float = setting(
        1.0, "weight of the squared error of the drawn pictures, or of the photos where none are drawn"
    )
    feature: float = setting(0.01, "weight of the squared distance of the feature from the generator's own")


@dataclass
class FSOptions:
    """How FS inverts and edits."""

    layer: int = setting(4, "the feature enters behind this layer of the generator")
    rule: Literal["paper", "carried"] = setting(
        "paper",
        "how the feature follows an edit: by F + G_k(w + edit) - G_k(w), as the authors do; or what it adds to the "
        "generator's own is carried along with the motion that the edit makes in the generator",
    )
    noise: Literal["fixed", "random"] = setting(
        "fixed", "the generator's noise: the stored one, or drawn anew in every pass, as the authors' program does"
    )


@register
class FSInverter(NextFeatureInverter):
    """photo -> w, F -> picture: F enters the convolution behind layer k in the place of G_k(w)."""

    method = "fs"
    networks = {"generator": "generator", ROLE: "feature_style_encoder"}  # noqa: RUF012
    Options = FSOptions
    edit_options = ("rule",)
    edit_variants = {rule: {"rule": rule} for rule in ("paper", "carried")}  # noqa: RUF012
    trains = (ROLE,)
    Settings, Losses = FSSettings, FSLosses
    tiny = {  # noqa: RUF012
        "layer": 2,
        "blocks": [1, 1, 1, 1],
        "widths": [8, 8, 16, 16],
        "strides": [2, 2, 1, 2],
        "ramp": 0,
    }
    feature_style: FeatureStyleEncoder

    def __init__(self, networks: Mapping[str, nn.Module], geometry: Geometry, options: Any = None):
        super().__init__(networks, geometry, options)
        self.check_layer(self.options.layer, self.feature_style.config.feature_channels)
        self.noise = self.options.noise
        mean = self.feature_style.latent_avg
        if not mean.any():  # the authors' file has none: it is that of the file with the generator
            beside: Any = networks.get("encoder", self.generator)
            mean.copy_(beside.latent_avg.expand_as(mean))

    @classmethod
    def options_of(cls, settings: Any) -> dict[str, Any]:
        """Those of the same name, but not the noise: that of a training is another matter."""
        return {name: value for name, value in super().options_of(settings).items() if name != "noise"}

    def invert(self, images: Tensor) -> Inversion:
        """Photos of the generator's own size are averaged down to the input size, as the authors do."""
        times = self.geometry.resolution // max(self.geometry.input_size)
        if images.ndim == 4 and times > 1 and tuple(images.shape[2:]) == (self.geometry.resolution,) * 2:
            images = F.avg_pool2d(images, times)
        return super().invert(images)

    def _invert(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Inversion:
        latent, feature = self.feature_style(photo)
        return self._with_feature(latent, feature, 1.0)

    def _with_feature(self, latent: Tensor, predicted: Tensor, share: float) -> Inversion:
        return self.with_feature(latent, self.own_state(latent, self.options.layer), predicted, share)

    def training_pass(self, photo: Tensor, frozen: Mapping[str, Tensor], step: Step) -> TrainingPass:
        """With random noise two pictures of each photo count, of which the second has the drawn pictures' noise. The
        method's own terms look at the first."""
        settings, count = step.settings, len(photo)
        share = ramp_of(step.images, settings.ramp)
        known = self._noise_maps(photo) if self.noise == "random" else None
        pictures = photo
        if settings.drawn:
            pictures = torch.cat([photo, self._drawn(count, self.noise if known is None else known).to(photo)])
        latent, predicted = self.feature_style(pictures)
        outputs = [self._with_feature(latent, predicted, share)]
        if known is not None:
            again = {layer: noise.repeat(len(pictures) // count, 1, 1, 1) for layer, noise in known.items()}
            with self._noise(again):
                outputs.append(self._with_feature(latent, predicted, share))
        inversion = outputs[0]
        apart = (self.geometry.at_input_size(inversion.image) - pictures)[count if settings.drawn else 0 :]
        own = inversion.extras["base_feature"].detach()
        terms = {"pixel": apart.square().mean(), "feature": F.mse_loss(predicted, own)}
        return TrainingPass(inversion, [(pictures, output.image) for output in outputs], terms, summed=True)

    @torch.no_grad()
    def _drawn(self, count: int, noise: Noise) -> Tensor:
        """Pictures of random codes at the input size [count, 3, H, W]."""
        generator = self.generator
        z = torch.randn(count, generator.config.style_dim, device=generator.latent_avg.device)
        image = generator.synthesis(generator.latent(z.to(generator.latent_avg)), noise=noise)
        return self.geometry.at_input_size(image.clamp(-1, 1))

    def _noise_maps(self, like: Tensor) -> dict[int, Tensor]:
        """Noise of as many pictures for one step, by layer."""
        sizes = self.generator.config
        shapes = {layer: (len(like), 1, *(sizes.layer_resolution(layer),) * 2) for layer in range(sizes.layers)}
        return {layer: torch.randn(shape, device=like.device).to(like) for layer, shape in shapes.items()}

    @contextmanager
    def _noise(self, noise: Noise) -> Iterator[None]:
        """Passes of the generator with this noise."""
        before, self.noise = self.noise, noise
        try:
            yield
        finally:
            self.noise = before

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        config = encoder_sizes(settings, generator.config, geometry, tuple(settings.content_strides))
        networks = made_or_held({ROLE: (FeatureStyleEncoder, config)}, held)
        encoder: Any = networks[ROLE]
        if held is None:
            encoder.latent_avg.copy_(generator.latent_avg.expand_as(encoder.latent_avg))
            if settings.backbone:
                _begin_with(encoder, settings.backbone)
        return networks


def _begin_with(encoder: FeatureStyleEncoder, backbone: str) -> None:
    """Copy the stages of a file's IResNet-50. ConfigError where they are of another shape."""
    body: Any = read_bundle(backbone).require("iresnet_embedder", "model.backbone")
    try:
        encoder.body.load_state_dict(body.body.state_dict())
    except RuntimeError as error:
        raise ConfigError(f"model.backbone={backbone}: its stages are not of model.blocks and model.widths") from error
