"""PTI: on the generators of faces and portraits. Nothing is trained, so no file is its own."""

from sdic.cards import GENERATOR, ModelCard, add, portraits, table_1

add(
    ModelCard(
        "pti-ffhq",
        "face",
        "pti",
        "pivotal tuning of the faces' generator, for minutes a photo",
        (GENERATOR,),
        table_1(0.832, 0.703, 24.355, 0.110, 0.012, 201.357, 0.726),
    ),
    ModelCard("portraits-pti", "portraits", "pti", "pivotal tuning of their generator", portraits("generator")),
)
