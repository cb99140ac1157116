"""Identity networks: ArcFace and CurricularFace as TreB1eN's code names them, MoCo v2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from sdic.checkpoints.bundle import Bundle, EmbedderConfig
from sdic.checkpoints.keymap import Rule, load_into, rename
from sdic.checkpoints.layouts.common import Layout, has, ir_body, read_network, state_of

FACE_EMBEDDER = [
    *ir_body("body."),
    Rule("output_layer.0.{rest}", "norm1.{rest}"),
    Rule("output_layer.3.{rest}", "linear.{rest}"),
    Rule("output_layer.4.{rest}", "norm2.{rest}"),
]

MOCO = [
    Rule(
        "module.encoder_q.fc.{rest}", None, "the projection head of MoCo's pretraining; the embedding is read before it"
    ),
    Rule("module.encoder_k.{rest}", None, "the momentum copy of the same network"),
    Rule("module.queue", None, "MoCo's queue of negatives"),
    Rule("module.queue_ptr", None, "MoCo's queue of negatives"),
    Rule("module.encoder_q.{rest}", "body.{rest}"),
]


def _read_embedder(kind: str) -> Callable[[Any, str], Bundle]:
    def read(content: Any, what: str) -> Bundle:
        dropped: dict[str, str] = {}
        network = read_network("face_embedder", EmbedderConfig(kind), content, FACE_EMBEDDER, what, dropped)
        return Bundle({"face_embedder": network}, {"file": what}, dropped)

    return read


def _read_moco(content: Any, what: str) -> Bundle:
    dropped: dict[str, str] = {}
    with torch.device("cpu"):  # it keeps constants that no file holds, so it cannot be built without memory
        from sdic.networks.identity import MoCoEmbedder

        network = MoCoEmbedder()
    renamed = rename(state_of(content), MOCO, what)
    dropped.update(renamed.dropped)
    load_into(network, renamed, what)
    return Bundle({"moco": network}, {"file": what}, dropped)


LAYOUTS = {
    "moco": Layout(
        "MoCo v2 ResNet-50 {state_dict: module.encoder_q.}",
        lambda content: has(state_of(content), "module.encoder_q.layer4."),
        _read_moco,
    ),
    "arcface": Layout(
        "ArcFace IR-SE50, a bare state dict",
        lambda content: has(content, "output_layer.", "body.23.res_layer.5.") and not has(content, "body.24."),
        _read_embedder("arcface"),
    ),
    "curricularface": Layout(
        "CurricularFace IR-101, a bare state dict",
        lambda content: has(content, "output_layer.", "body.48."),
        _read_embedder("curricularface"),
    ),
}
