"""SDIC: the authors' releases, and ours on portraits."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add, portraits, table_1

NO_LICENCE = "none stated by the authors"
FACE = WeightFile("sdic_ffhq.pt", DRIVE.format("1-IcTTzXTNq_W8pNEC5tzN-srH0uzpKEW"), NO_LICENCE)
CAR = WeightFile("sdic_cars.pt", DRIVE.format("1_Dfu06wuRqgFLXnc98HJv8QuBiLjrQgG"), NO_LICENCE)
NUMBERS = table_1(0.871, 0.815, 27.672, 0.057, 0.007, 0.321, 0.726)

add(
    ModelCard("sdic-ffhq", "face", "sdic", "SDIC as released by its authors, faces, 1024 px", (FACE,), NUMBERS),
    ModelCard("sdic-cars", "car", "sdic", "SDIC as released by its authors, cars, 512 px", (CAR,)),
    ModelCard(
        "tiny",
        "tiny",
        "sdic",
        "untrained 64 px stack built from a seed: shows that everything runs, not how well",
        seed=0,
    ),
    ModelCard(
        "portraits",
        "portraits",
        "sdic",
        "SDIC on the rendered portraits of this project, trained here",
        portraits("generator", "encoder", "sdic"),
    ),
    ModelCard(
        "portraits-difference",
        "portraits",
        "sdic",
        "the same without DIPN: DICN gets the plain difference of photo and first reconstruction (map=difference)",
        portraits("generator", "encoder", "difference"),
    ),
)
