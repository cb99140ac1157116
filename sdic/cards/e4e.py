"""e4e and pSp: the published encoders, and ours on portraits."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add, portraits, table_1

FACE = WeightFile("e4e_ffhq_encode.pt", "https://github.com/omertov/encoder4editing (model list in its README)", "MIT")
PSP = WeightFile("psp_ffhq_encode.pt", DRIVE.format("1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0"), "MIT")
NUMBERS = table_1(0.495, 0.537, 19.390, 0.206, 0.050, 0.033, 0.452)

add(
    ModelCard("e4e-ffhq", "face", "e4e", "e4e, faces, 1024 px", (FACE,), NUMBERS),
    ModelCard("tiny-e4e", "tiny", "e4e", "the e4e part of the untrained 64 px stack", seed=0),
    ModelCard("psp-ffhq", "face", "psp", "pSp, faces, 1024 px", (PSP,)),
    ModelCard("tiny-psp", "tiny", "psp", "pSp on the untrained 64 px stack", seed=0),
    ModelCard(
        "portraits-e4e",
        "portraits",
        "e4e",
        "the e4e that SDIC on portraits starts from",
        portraits("generator", "encoder"),
    ),
)
