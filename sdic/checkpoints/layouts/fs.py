"""The release of FS: its encoder's bare state dict (143_enc.pth), or a training's checkpoint {enc_state_dict, ...}. Its
generator comes from a file of the e4e family."""

from __future__ import annotations

from typing import Any

import torch

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.keymap import beside
from sdic.checkpoints.layouts.common import Layout, find_state, read_network, set_aside
from sdic.checkpoints.layouts.feature_style import ENCODER, sizes_of
from sdic.errors import CheckpointError


def _read(content: Any, bundle: Bundle) -> None:
    place, state = find_state(content, *NEEDS)
    set_aside(content, place, (), bundle.dropped)
    try:
        config = sizes_of(state, (2, 2, 2, 2), (1, 2))
    except KeyError as error:
        raise CheckpointError(f"{bundle.source['file']}: expected {beside(error.args[0], state)}") from error
    mean = torch.zeros(config.latent_rows, config.style_dim)  # of the generator's file: the method looks there
    read_network(bundle, "feature_style", config, {**state, "latent_avg": mean}, ENCODER, kind="feature_style_encoder")
    bundle.source["method"] = "fs"


NEEDS = ("block_1.", "block_4.", "content_layer.", "styles.")
LAYOUTS = {"fs": Layout("the encoder of FS, a bare state dict or {enc_state_dict}", NEEDS, _read)}
