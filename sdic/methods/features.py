"""What methods that compensate a feature of the generator share.

Shapes: B batch, H and W input size, L latent rows, D style width, C/h the compensated feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from sdic.changes import Noise
from sdic.errors import ConfigError, SdicError
from sdic.networks.stylegan2 import Generator, GeneratorConfig, Synthesis, shrink
from sdic.settings import require
from sdic.types import Geometry, Inversion


def check_layer(layer: int, config: GeneratorConfig) -> None:
    """ConfigError for a layer that a generator has not."""
    require(0 <= layer < config.layers, f"model.layer={layer}: the generator has layers 0 .. {config.layers - 1}")


def first_pass(
    encoder: Callable[[Tensor], Tensor],
    generator: Generator,
    photo: Tensor,
    known: Mapping[str, Tensor],
    layer: int,
    geometry: Geometry,
    noise: Noise,
) -> dict[str, Tensor]:
    """latent: the encoder's code w [B, L, D]. feature: G_k(w) [B, C, h, h]. initial: R_o [B, 3, H, W], clamped.

    known: those that need not be computed.
    """
    synthesis = generator.synthesis
    latent = known["latent"] if "latent" in known else encoder(photo).to(photo)
    if "initial" in known:
        feature = synthesis.until(layer, latent, noise=noise).feature
        return {"latent": latent, "feature": feature, "initial": known["initial"]}
    feature, initial = first_reconstruction(synthesis, latent, layer, geometry, noise)
    return {"latent": latent, "feature": feature, "initial": initial}


def first_reconstruction(
    synthesis: Synthesis, latent: Tensor, layer: int, geometry: Geometry, noise: Noise = "fixed"
) -> tuple[Tensor, Tensor]:
    """The feature G_k(w) [B, C, h, h], and R_o = G(w) as SDIC and HFGI look at it: clamped, at the input size [B, 3, H,
    W]."""
    state = synthesis.until(layer, latent, noise=noise)
    if geometry.crop is None and geometry.input_size[0] == geometry.input_size[1]:
        return state.feature, synthesis.shrunk(latent, geometry.input_size[0], state, noise)
    image = geometry.visible(synthesis(latent, state, noise)).clamp(-1, 1)
    return state.feature, shrink(image, geometry.input_size)


def made_or_held(
    asked: Mapping[str, tuple[type[nn.Module], Any]], held: Mapping[str, nn.Module] | None
) -> dict[str, nn.Module]:
    """New networks of the configs asked for, by role, or those of a file to start from.

    ConfigError where the file's were built by other configs.
    """
    if held is None:
        return {role: network(config) for role, (network, config) in asked.items()}
    for role, (_, config) in asked.items():
        found: Any = held[role].config
        if found != config:
            raise ConfigError(f"the file has the {role} {found}, the settings ask for {config}")
    return {role: held[role] for role in asked}


def held_by(inversion: Inversion, name: str, method: str) -> Tensor:
    """What an inversion keeps under a name for the edits of a method. SdicError where another method made it."""
    if name not in inversion.extras:
        raise SdicError(
            f"this inversion holds no {name}, from which {method} edits; {inversion.method or 'another method'} made "
            f"it: invert the photo again with {method}"
        )
    return inversion.extras[name]
