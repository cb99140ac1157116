"""What the methods share that train an encoder of pSp's family: its settings, and how a new one begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sdic.errors import ConfigError
from sdic.networks.e4e import E4E, E4EConfig
from sdic.networks.irse import IR50, WIDTHS
from sdic.networks.stylegan2 import Generator
from sdic.settings import at_least, setting
from sdic.types import Geometry


@dataclass
class EncoderSettings:
    """What a training says about an encoder. The defaults are the authors' for faces."""

    blocks: list[int] = setting(list(IR50), "blocks of the encoder's four stages")
    widths: list[int] = setting(list(WIDTHS), "channels of the encoder's four stages")
    coarse: int = setting(3, "rows below this one read the coarsest feature of a pyramid")
    middle: int = setting(7, "rows below this one, from `coarse` on, read the middle feature of a pyramid")
    start_spread: float = setting(
        0.0,
        "0: outputs begin as the authors' do, equally wide in all directions; above 0: with W's covariance, and this "
        "share of its spread",
    )

    def __post_init__(self) -> None:
        at_least(self, 0, "start_spread", "model.", "0 (off)")


def encoder_for(
    settings: EncoderSettings,
    generator: Generator,
    geometry: Geometry,
    held: Mapping[str, nn.Module] | None,
    **switches: Any,
) -> E4E:
    """A new encoder, or the one that is held if it is as the settings say (ConfigError otherwise).

    switches: the fields of `E4EConfig` that make it another method's.
    """
    sizes = generator.config
    named = {name: getattr(settings, name) for name in ("blocks", "widths", "coarse", "middle")}
    rows = sizes.latent_rows
    config = E4EConfig(rows, sizes.style_dim, input_size=max(geometry.input_size), **{**named, **switches})
    if held is not None:
        encoder: Any = held["encoder"]
        found = vars(encoder.config)
        wrong = [
            f"{name} is {value}, in the file {found[name]}"
            for name, value in vars(config).items()
            if value != found[name]
        ]
        if wrong:
            raise ConfigError("; ".join(wrong))
        return encoder
    encoder = E4E(config)
    encoder.latent_avg.copy_(generator.latent_avg.cpu().expand_as(encoder.latent_avg))
    if settings.start_spread > 0:
        start_in_w(encoder, generator, settings.start_spread)
    return encoder


@torch.no_grad()
def start_in_w(encoder: E4E, generator: Generator, share: float) -> None:
    """Give a new encoder's outputs the covariance of W, with `share` of its spread: codes that begin as wide in one
    direction as in another are far outside of W, which is flat, and the way back in is slow."""
    z = torch.randn(4096, generator.config.style_dim, generator=torch.Generator().manual_seed(0))
    values, vectors = torch.linalg.eigh(torch.cov(generator.mapping(z.to(generator.latent_avg)).double().cpu().t()))
    spread = share * vectors * values.clamp_min(0).sqrt()
    heads: Any = encoder.heads
    for head in heads:
        weight = head.linear.weight
        weight.copy_(spread.to(weight) @ weight)
