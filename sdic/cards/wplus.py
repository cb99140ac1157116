"""Optimisation of the code: on the generators of faces and portraits. Nothing is trained, so no file is its own."""

from sdic.cards import GENERATOR, ModelCard, add, portraits

add(
    ModelCard("wplus-ffhq", "face", "wplus", "code and noise optimised a photo, faces, 1024 px", (GENERATOR,)),
    ModelCard("portraits-wplus", "portraits", "wplus", "code and noise optimised a photo", portraits("generator")),
)
