"""HFGI: the authors' release, and ours on portraits."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add, portraits, table_1

FACE = WeightFile("hfgi_ffhq.pt", DRIVE.format("19y6pxOiJWB0NoG3fAZO9Eab66zkN9XIL"), "none stated by the authors")
NUMBERS = table_1(0.606, 0.641, 22.372, 0.136, 0.026, 0.108, 0.610)

add(
    ModelCard("hfgi-ffhq", "face", "hfgi", "HFGI as released by its authors, faces, 1024 px", (FACE,), NUMBERS),
    ModelCard(
        "portraits-hfgi",
        "portraits",
        "hfgi",
        "HFGI on the rendered portraits of this project, trained here",
        portraits("generator", "encoder", "hfgi"),
    ),
)
