"""HyperStyle (Alaluf et al. 2022): a code that stays, and weights of the generator that change from photo to photo.

Shapes: B batch, H and W input size, L latent rows, D style width, N changed layers, Z width of a vector.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sdic.changes import Changes
from sdic.checkpoints import kind_of
from sdic.direction import Direction
from sdic.errors import ConfigError
from sdic.methods.iterative import IterativeInverter
from sdic.methods.registry import register
from sdic.networks.hyperstyle import Gains, HyperNet, HyperNetConfig, WEncoder
from sdic.networks.irse import WIDTHS
from sdic.networks.resnet import RESNET34
from sdic.networks.stylegan2 import Generator
from sdic.settings import at_least, require, setting
from sdic.types import Geometry, Inversion

PASSES = "how often the hypernetwork looks at photo and reconstruction (the paper's T)"
SPACE = (
    "of the code, where the encoder is one of W+: w is the code of its row 0 in all rows, as the paper has it; or w+"
)


@dataclass
class HyperStyleOptions:
    """How HyperStyle inverts."""

    passes: int = setting(5, PASSES)
    space: Literal["w", "w+"] = setting("w", SPACE)

    def __post_init__(self) -> None:
        at_least(self, 1, "passes")


@dataclass
class HyperStyleSettings:
    """What a training says about the hypernetwork. The defaults are the authors'."""

    passes: int = setting(5, PASSES)
    space: Literal["w", "w+"] = setting("w", SPACE)
    blocks: list[int] = setting(list(RESNET34), "blocks of the body's four stages")
    widths: list[int] = setting(list(WIDTHS), "channels of the body's four stages; the last is a vector's width")
    wide_inner: int = setting(128, "channels inside the heads of the layers that share a hypernetwork")
    narrow_inner: int = setting(256, "channels inside the other heads")
    shared: bool = setting(True, "the widest layers share a hypernetwork that changes each tap (false: an ablation)")
    layers: list[int] = setting([], "layers of the generator whose weights are changed; empty: all (an ablation)")
    start_at_zero: bool = setting(
        False, "a new hypernetwork changes nothing yet; false: it begins as the authors' does"
    )

    def __post_init__(self) -> None:
        at_least(self, 1, "passes wide_inner narrow_inner", "model.")
        require(
            not getattr(self, "activation_checkpointing", False),
            "model.activation_checkpointing: weights that differ from photo to photo cannot be recomputed; lower "
            "optim.batch, or raise optim.accumulate",
        )


@register
class HyperStyleInverter(IterativeInverter):
    """w = encoder(photo); Δ = 0; then several times Δ += H(photo, G(w, Δ)); the picture is G(w, Δ).

    An edit is G(w + shift, Δ): the weights stay those of the photo. Kept of Δ are `extras["vectors"]` [B, N, Z] and
    `extras["passes"]` [B], from which the hypernetwork makes it again, layer by layer.
    """

    method = "hyperstyle"
    networks = {"generator": "generator", "encoder": "w_encoder", "hypernet": "hypernet"}  # noqa: RUF012
    Options, Settings = HyperStyleOptions, HyperStyleSettings
    trains = ("hypernet",)
    stored = ("latent", "initial")
    tiny = {"blocks": [1] * 4, "widths": [8, 12, 16, 24], "wide_inner": 8, "narrow_inner": 8, "passes": 2}  # noqa: RUF012
    encoder: nn.Module
    hypernet: HyperNet

    @classmethod
    def fits(cls, networks: Mapping[str, nn.Module]) -> bool:
        """The encoder may be one of W+ for photos as well (see the option `space`)."""
        if not set(cls.networks) <= set(networks):
            return False
        encoder: Any = networks["encoder"]
        kinds = [kind_of(networks[role]) for role in cls.networks]
        of_photos = getattr(encoder.config, "channels", 3) == 3
        return kinds in (list(cls.networks.values()), ["generator", "encoder", "hypernet"]) and of_photos

    @classmethod
    def trainable(
        cls, settings: Any, generator: Generator, geometry: Geometry, held: Mapping[str, nn.Module] | None = None
    ) -> dict[str, nn.Module]:
        sizes = generator.config
        outputs = tuple(sizes.layer_channels(layer) for layer in range(sizes.layers))
        names = ("blocks", "widths", "wide_inner", "narrow_inner", "shared")
        config = HyperNetConfig(
            *((outputs[0], *outputs[:-1]), outputs, sizes.latent_rows, sizes.style_dim),
            layers=tuple(settings.layers or range(sizes.layers)),
            wide=max(outputs),
            input_size=max(geometry.input_size),
            **{name: getattr(settings, name) for name in names},
        )
        if held is not None:
            found: Any = held["hypernet"]
            if found.config != config:
                raise ConfigError(f"its hypernetwork is {found.config}, the settings ask for {config}")
            return {"hypernet": found}
        network = HyperNet(config)
        network.latent_avg.copy_(generator.latent_avg.cpu().expand_as(network.latent_avg))
        if settings.start_at_zero:
            last = [*network.outputs.parameters()]
            last += [] if network.shared is None else [network.shared.w1, network.shared.b1]
            for parameter in last:
                nn.init.zeros_(parameter)
        return {"hypernet": network}

    def _frozen_pass(self, photo: Tensor, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """latent: the code w [B, L, D]. initial: its picture [B, 3, H, W] at the input size, not clamped."""
        latent = known["latent"] if "latent" in known else self._code(photo)
        if "initial" in known:
            return dict(known)
        return {
            "latent": latent,
            "initial": self.geometry.at_input_size(self.generator.synthesis(latent, noise=self.noise)),
        }

    def _code(self, photo: Tensor) -> Tensor:
        if isinstance(self.encoder, WEncoder):
            return self.encoder(photo)[:, None] + self.hypernet.latent_avg
        return self.encoder(photo, 1 if self.options.space == "w" else None)

    def passes(self, photo: Tensor, frozen: Mapping[str, Tensor] | None = None) -> Iterator[Inversion]:
        first = self.frozen_pass(photo) if frozen is None else frozen
        latent, shown = first["latent"], first["initial"]
        total, one = None, torch.ones(len(photo), device=photo.device)
        for count in range(1, self.options.passes + 1):
            found = self.hypernet(torch.cat([photo, shown.detach().to(photo)], 1))
            if found.requires_grad and total is not None:  # what was found before carries no gradient
                gains = Gains(self.hypernet, found, one.to(found), self.hypernet.gains(total, (count - 1) * one))
                total = total + found.detach()
            else:
                whole = found if total is None else total + found
                gains, total = self.hypernet.gains(whole, count * one), whole.detach()
            image = self._draw(latent, gains)
            yield Inversion(image, latent, latent, extras={"vectors": total, "passes": count * one})
            shown = self.geometry.at_input_size(image)

    def _edit(self, inversion: Inversion, directions: Sequence[Direction], strengths: Sequence[Tensor]) -> Tensor:
        latent = inversion.latent + self.shift(inversion.latent, directions, strengths)
        if "vectors" not in inversion.extras:  # a code alone
            return self.generator.synthesis(latent, noise=self.noise)
        return self._draw(latent, self.hypernet.gains(inversion.extras["vectors"], inversion.extras["passes"]))

    def _draw(self, latent: Tensor, gains: Gains) -> Tensor:
        return self.generator.synthesis(latent, changes=Changes(self.noise, weight_gains=gains))

    def stages(self, inversion: Inversion) -> list[Tensor]:
        """The picture of the code with the generator's own weights."""
        return [self.geometry.at_input_size(self.generator.synthesis(inversion.latent, noise=self.noise))]
