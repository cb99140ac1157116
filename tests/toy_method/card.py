"""Its published model."""

from sdic.cards import ModelCard, WeightFile, add

add(
    ModelCard(
        name="toy-model",
        domain="tiny",
        method="toy",
        description="the toy of the tests",
        files=(WeightFile("toy.pt", "nowhere", "MIT"),),
    )
)
