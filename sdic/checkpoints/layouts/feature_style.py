"""Key rules of the Feature-Style encoder, which FS's and StyleFeatureEditor's files share."""

from __future__ import annotations

from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts.common import State, below_it
from sdic.networks.feature_style import FeatureStyleConfig

BLOCK = {"bn1": "norm1", "conv1": "conv1", "bn2": "norm2", "prelu": "act", "conv2": "conv2", "bn3": "norm3"}
PROJECT = {"downsample.0": "project.conv", "downsample.1": "project.norm"}
CONTENT = ("norm1", "conv1", "norm2", "act", "conv2", "norm3")
ENCODER = [
    *below_it({f"conv.{n}": f"body.stem.{part}" for n, part in enumerate(("conv", "norm", "act"))}),
    *below_it(
        {
            f"block_{stage + 1}.{{i}}.{theirs}": f"body.stages.{stage}.{{i}}.{ours}"
            for stage in range(4)
            for theirs, ours in {**BLOCK, **PROJECT}.items()
        }
    ),
    *below_it({f"content_layer.{n}": f"content.{part}" for n, part in enumerate(CONTENT)}),
    *below_it({"styles.{i}": "heads.{i}"}),
    Rule("latent_avg", "latent_avg"),  # put there by the reader: no file has it among the encoder's keys
]


def sizes_of(state: State, strides: tuple[int, ...], content_strides: tuple[int, ...]) -> FeatureStyleConfig:
    """The sizes of an encoder, read off its tensors; the strides, which no tensor shows, are the layout's.

    KeyError names a tensor that is not there."""
    blocks = tuple(
        1 + max(int(key.split(".")[1]) for key in state if key.startswith(f"block_{stage}.")) for stage in range(1, 5)
    )
    widths = tuple(state[f"block_{stage}.0.conv1.weight"].shape[0] for stage in range(1, 5))
    rows = sum(key.startswith("styles.") and key.endswith(".weight") for key in state)
    width, channels = state["styles.0.weight"].shape[0], state["content_layer.1.weight"].shape[0]
    return FeatureStyleConfig(rows, width, blocks, widths, strides, channels, content_strides)
