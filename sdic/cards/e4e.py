"""e4e: the published encoder, and ours on portraits."""

from sdic.cards import ModelCard, WeightFile, add, portraits

FACE = WeightFile("e4e_ffhq_encode.pt", "https://github.com/omertov/encoder4editing (model list in its README)", "MIT")

add(
    ModelCard(
        name="e4e-ffhq",
        domain="face",
        method="e4e",
        description="e4e, faces, 1024 px",
        files=(FACE,),
        paper={
            "id": 0.495,
            "ssim": 0.537,
            "psnr": 19.390,
            "lpips": 0.206,
            "l2": 0.050,
            "seconds": 0.033,
            "edit_id": 0.452,
        },
    ),
    ModelCard(
        name="tiny-e4e",
        domain="tiny",
        method="e4e",
        description="the e4e part of the untrained 64 px stack",
        seed=0,
    ),
    ModelCard(
        name="portraits-e4e",
        domain="portraits",
        method="e4e",
        description="the e4e that SDIC on portraits starts from",
        files=portraits("generator", "encoder"),
    ),
)
