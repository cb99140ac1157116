"""ReStyle, over pSp and over e4e: {state_dict: encoder. decoder., latent_avg, opts}.

Both have the same keys; only `opts.encoder_type` tells them apart.
"""

from __future__ import annotations

from typing import Any

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.layouts.common import Layout
from sdic.checkpoints.layouts.e4e import Types, encoder_and_generator
from sdic.errors import CheckpointError
from sdic.networks.resnet import RESNET34

_OURS = {"channels": 6, "pyramid": False}
_RESNET = {**_OURS, "body": "resnet", "blocks": RESNET34}
TYPES: Types = {
    "BackboneEncoder": {**_OURS, "relative": False},
    "ResNetBackboneEncoder": {**_RESNET, "relative": False},
    "ProgressiveBackboneEncoder": _OURS,
    "ResNetProgressiveBackboneEncoder": _RESNET,
}
"""encoder_type -> what is otherwise in the network's config than for e4e."""


def _read(content: Any, bundle: Bundle) -> None:
    options = content.get("opts")
    named = options if isinstance(options, dict) else getattr(options, "__dict__", {})
    if named.get("encoder_type") is None:
        raise CheckpointError(
            f"{bundle.source['file']}: its opts do not say its encoder_type, and ReStyle over pSp and over e4e have "
            f"the same keys; sdic reads files that name one of {', '.join(TYPES)}"
        )
    # The authors always add the mean code, whatever the option says.
    content = {**content, "opts": {**named, "start_from_latent_avg": True}}
    encoder_and_generator(content, bundle, types=TYPES)
    bundle.source["method"] = "restyle"


LAYOUTS = {
    "restyle": Layout(
        "ReStyle {state_dict: encoder. (without latlayer) decoder., latent_avg, opts}",
        ("encoder.styles.", "decoder."),
        _read,
        foreign=("encoder.latlayer", "residue.", "hypernet.", "DIP.", "CGI."),
    )
}
