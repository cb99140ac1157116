"""StyleRes: the authors' release."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add

FACE = WeightFile(
    "styleres_ffhq.pth", DRIVE.format("1SXNe_txGQaGQg3AthSdwlBAlDPjlzFet"), "Nvidia Source Code License-NC"
)
NUMBERS = {"lpips": 0.076, "l2": 0.013, "seconds": 0.063}  # as StyleFeatureEditor's table measures it

add(
    ModelCard(
        "styleres-ffhq", "face", "styleres", "StyleRes as released by its authors, faces, 1024 px", (FACE,), NUMBERS
    )
)
