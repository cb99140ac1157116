"""SDIC: the authors' releases, and ours on portraits."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add, portraits

NO_LICENCE = "none stated by the authors"
FACE = WeightFile("sdic_ffhq.pt", DRIVE.format("1-IcTTzXTNq_W8pNEC5tzN-srH0uzpKEW"), NO_LICENCE)
CAR = WeightFile("sdic_cars.pt", DRIVE.format("1_Dfu06wuRqgFLXnc98HJv8QuBiLjrQgG"), NO_LICENCE)

add(
    ModelCard(
        name="sdic-ffhq",
        domain="face",
        method="sdic",
        description="SDIC as released by its authors, faces, 1024 px",
        files=(FACE,),
        paper={
            "id": 0.871,
            "ssim": 0.815,
            "psnr": 27.672,
            "lpips": 0.057,
            "l2": 0.007,
            "seconds": 0.321,
            "edit_id": 0.726,
        },
    ),
    ModelCard(
        name="sdic-cars",
        domain="car",
        method="sdic",
        description="SDIC as released by its authors, cars, 512 px",
        files=(CAR,),
    ),
    ModelCard(
        name="tiny",
        domain="tiny",
        method="sdic",
        description="untrained 64 px stack built from a seed: shows that everything runs, not how well",
        seed=0,
    ),
    ModelCard(
        name="portraits",
        domain="portraits",
        method="sdic",
        description="SDIC on the rendered portraits of this project, trained here",
        files=portraits("generator", "encoder", "sdic"),
    ),
)
