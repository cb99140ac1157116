"""How its imaginary authors would save it: one state dict, their own names for the correction's layer."""

from __future__ import annotations

from typing import Any

from sdic.checkpoints import FORMATS, Bundle
from sdic.checkpoints.keymap import Rule
from sdic.checkpoints.layouts.common import Layout, below, read_network
from sdic.networks.e4e import E4EConfig
from sdic.networks.stylegan2 import GeneratorConfig
from sdic.types import Geometry
from tests.toy_method.network import CorrectionConfig

GENERATOR = GeneratorConfig(64, style_dim=64, mapping_layers=2, channels=(48, 48, 32, 32, 24))
ENCODER = E4EConfig(GENERATOR.latent_rows, 64, (1, 1, 2, 1), (16, 24, 32, 48), input_size=64)
AS_IT_IS = [Rule("{rest}", "{rest}")]


def _read(content: Any, bundle: Bundle) -> None:
    state = content["toy"]
    read_network(bundle, "generator", GENERATOR, below(state, "G."), AS_IT_IS, "G.")
    read_network(bundle, "encoder", ENCODER, below(state, "E."), AS_IT_IS, "E.")
    rules = [Rule("fix.{rest}", "linear.{rest}")]
    read_network(bundle, "corrector", CorrectionConfig(64), below(state, "C."), rules, "C.", kind="correction")
    bundle.source |= {"method": "toy", "domain": "tiny", "geometry": Geometry(64, (64, 64)).to_text()}


FORMATS["toy"] = Layout("the toy {toy: G. E. C.fix.}", ("G.", "E.", "C.fix."), _read)
