"""What the methods share that train an encoder of pSp's family: its settings, and how a new one begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sdic.checkpoints import read_bundle
from sdic.errors import ConfigError
from sdic.methods.base import Inverter
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
    body_from: str = setting(
        "", "file of a face embedder or of an encoder with whose body a new one begins; empty: it begins from nothing"
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
    if settings.body_from:
        copy_body(encoder, Path(settings.body_from))
    if settings.start_spread > 0:
        start_in_w(encoder, generator, settings.start_spread)
    return encoder


@torch.no_grad()
def copy_body(encoder: E4E, path: Path) -> None:
    """Give an encoder the body of another network; of what it sees beside a photo, its own weights stay.

    ConfigError where the file is not there or holds no body of these sizes.
    """
    if not path.is_file():
        raise ConfigError(f"model.body_from={path}: no such file ({path.absolute()})")
    networks = read_bundle(path).networks.values()
    bodies = [getattr(network, "body", None) for network in networks]
    own, stem = encoder.body.state_dict(), "stem.conv.weight"
    for body in (body for body in bodies if type(body) is type(encoder.body)):
        found: dict[str, Tensor] = body.state_dict()  # type: ignore[union-attr]
        if found.keys() == own.keys() and all(found[name].shape[:1] == own[name].shape[:1] for name in own):
            first = found[stem][:, : own[stem].shape[1]]
            found[stem] = torch.cat([first, own[stem][:, first.shape[1] :]], 1)
            encoder.body.load_state_dict(found)
            return
    raise ConfigError(f"model.body_from={path}: holds no body of the sizes that model.blocks and model.widths ask for")


def picture_of(inverter: Inverter, latent: Tensor) -> Tensor:
    """The picture [B, 3, R, R] of a code [B, L, D]; where a training recomputes activations, kept between resolutions
    only."""
    synthesis = inverter.generator.synthesis
    if not inverter.recompute:
        return synthesis(latent, noise=inverter.noise)
    return inverter.render(latent, synthesis.until(0, latent, noise=inverter.noise).feature, 0)


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
