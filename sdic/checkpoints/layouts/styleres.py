"""The release of StyleRes: {e4e: bare keys, generator_smooth: NVIDIA's names, with its networks inside, latent_avg}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import Rule, beside
from sdic.checkpoints.layouts.common import Layout, below, below_it, find_state, read_network, set_aside, unwrapped
from sdic.checkpoints.layouts.e4e import E4E, INPUT
from sdic.checkpoints.layouts.stylegan2 import mean_rows
from sdic.checkpoints.layouts.stylegan2_ada import read_generator
from sdic.errors import CheckpointError
from sdic.networks.e4e import E4EConfig
from sdic.networks.styleres import ResidualTransformConfig
from sdic.types import Geometry

BLOCK = "synthesis.b64.modify_feature_"


def _residual(source: str, ours: str) -> list[Rule]:
    """Residual layers: source.0.res_layer.0 is the first one's first convolution."""
    parts = {"res_layer.0": "conv1", "res_layer.2": "conv2", "shortcut_layer.0": "project"}
    return below_it({f"{source}.{{i}}.{theirs}": f"{ours}.{part}" for theirs, part in parts.items()})


TRANSFORM = [
    Rule("alignment.dconv3.{rest}", None, "never used by the authors' forward pass"),
    *below_it({"alignment.first_layer": "align.entry", "alignment.out_layer": "align.output"}),
    *(
        rule
        for source, ours in (
            ("conv1", "level1"),
            ("conv2", "level2"),
            ("conv3", "level3"),
            ("dconv1", "up2"),
            ("dconv2", "up1"),
        )
        for rule in _residual(f"alignment.{source}", f"align.{ours}.{{i}}")
    ),
    *below_it({"extraction.first_layer": "extraction.0"}),
    *_residual("extraction.convs", "extraction.{i+1}"),
    *below_it({"gates.down1": "of_feature", "gates.down2": "of_extracted"}),
    *_residual("gates.convs", "offset.{i}"),
    *_residual("gates.convs2", "gate.{i}"),
]


def _read(content: Any, bundle: Bundle) -> None:
    what = bundle.source["file"]
    place, state = find_state(content, *NEEDS)
    set_aside(content, place, ("e4e", "latent_avg"), bundle.dropped)
    prefix = f"{place}." if place else ""
    plain = {key: value for key, value in state.items() if not key.startswith(BLOCK)}
    sizes = read_generator(plain, bundle, prefix).config
    part = below(state, BLOCK)
    try:
        channels = len(part["alignment.first_layer.weight"])
        skip = part["alignment.first_layer.weight"].shape[1] - channels
    except KeyError as error:
        raise CheckpointError(f"{what} ({prefix}{BLOCK}): expected {beside(error.args[0], part)}") from error
    read_network(
        bundle,
        "transform",
        ResidualTransformConfig(channels, skip),
        part,
        TRANSFORM,
        prefix + BLOCK,
        "residual_transform",
    )
    encoder = content.get("e4e")
    mean = mean_rows(content.get("latent_avg"), sizes, what)
    if not isinstance(encoder, Mapping) or mean is None:
        raise CheckpointError(f"{what}: expected e4e (the encoder) and latent_avg beside {place or 'the generator'}")
    encoder = {**unwrapped(encoder), "latent_avg": mean.expand(sizes.latent_rows, -1).clone()}
    read_network(bundle, "encoder", E4EConfig(sizes.latent_rows, sizes.style_dim), encoder, E4E, "e4e.")
    bundle.source |= {"method": "styleres", "geometry": Geometry(sizes.resolution, (INPUT, INPUT)).to_text()}


NEEDS = (f"{BLOCK}alignment.", f"{BLOCK}extraction.", f"{BLOCK}gates.", "mapping.")
LAYOUTS = {"styleres": Layout("StyleRes release {e4e, generator_smooth, latent_avg}", NEEDS, _read)}
