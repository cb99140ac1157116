"""Identity networks: ArcFace and CurricularFace as TreB1eN's code names them, MoCo v2."""

from __future__ import annotations

from typing import Any

from sdic.checkpoints.bundle import Bundle, EmbedderConfig, NoConfig
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts.common import Layout, below_it, find_state, ir_body, read_network, set_aside
from sdic.checkpoints.layouts.feature_style import BLOCK, PROJECT

FACE_EMBEDDER = [
    *ir_body("body."),
    *below_it({"output_layer.0": "norm1", "output_layer.3": "linear", "output_layer.4": "norm2"}),
]

IRESNET = [
    *below_it({"conv1": "body.stem.conv", "bn1": "body.stem.norm", "prelu": "body.stem.act"}),
    *below_it(
        {
            f"layer{stage + 1}.{{i}}.{theirs}": f"body.stages.{stage}.{{i}}.{ours}"
            for stage in range(4)
            for theirs, ours in {**BLOCK, **PROJECT}.items()
        }
    ),
    *below_it({"bn2": "norm1", "fc": "linear", "features": "norm2"}),
]

MOCO = [
    Rule("encoder_q.fc.{rest}", None, "the projection head of MoCo's pretraining; the embedding is read before it"),
    Rule("encoder_k.{rest}", None, "the momentum copy of the same network"),
    Rule("queue", None, "MoCo's queue of negatives"),
    Rule("queue_ptr", None, "MoCo's queue of negatives"),
    Rule("encoder_q.{rest}", "body.{rest}"),
]


def _layout(
    description: str, role: str, config: Any, rules: list[Rule], *needs: str, foreign: tuple[str, ...] = ()
) -> Layout:
    def read(content: Any, bundle: Bundle) -> None:
        place, state = find_state(content, *needs)
        set_aside(content, place, (), bundle.dropped)
        read_network(bundle, role, config, state, rules)

    return Layout(description, needs, read, foreign)


def _face(kind: str, name: str, block: str, foreign: tuple[str, ...] = ()) -> Layout:
    config, needs = EmbedderConfig(kind), ("output_layer.", block)
    return _layout(f"{name}, a bare state dict", "face_embedder", config, FACE_EMBEDDER, *needs, foreign=foreign)


LAYOUTS = {
    "moco": _layout("MoCo v2 ResNet-50 {state_dict: module.encoder_q.}", "moco", NoConfig(), MOCO, "encoder_q.layer4."),
    "arcface": _face("arcface", "ArcFace IR-SE50", "body.23.res_layer.5.", foreign=("body.24.",)),
    "arcface_iresnet50": _layout(
        *("insightface's IResNet-50, a bare state dict", "iresnet_embedder", NoConfig(), IRESNET),
        *("layer4.2.bn3.", "features.", "prelu."),
    ),
    "curricularface": _face("curricularface", "CurricularFace IR-101", "body.48."),
}
