"""StyleFeatureEditor: the authors' releases."""

from sdic.cards import ModelCard, WeightFile, add
from sdic.cards.e4e import FACE as E4E_FACE

HUB = "https://huggingface.co/AIRI-Institute/StyleFeatureEditor/resolve/main/pretrained_models/"
EDITOR = WeightFile("sfe_editor_light.pt", HUB + "sfe_editor_light.pt", "MIT")
INVERTER = WeightFile("sfe_inverter_light.pt", HUB + "sfe_inverter_light.pt", "MIT")

add(
    ModelCard("sfe-ffhq", "face", "sfe", "StyleFeatureEditor, faces, 1024 px", (EDITOR, E4E_FACE)),
    ModelCard("sfe-inverter-ffhq", "face", "sfe-inverter", "its inverter alone (phase 1)", (INVERTER, E4E_FACE)),
    ModelCard("tiny-sfe", "tiny", "sfe", "StyleFeatureEditor on the untrained 64 px stack", seed=0),
)
