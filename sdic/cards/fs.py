"""FS, the Feature-Style encoder: the authors' release, ours on portraits, and the network of its identity loss."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add, add_network, portraits, table_1

LICENCE = "InterDigital, for evaluation only"
GENERATOR = WeightFile("psp_ffhq_encode.pt", DRIVE.format("1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0"), "MIT")
ENCODER = WeightFile("143_enc.pth", DRIVE.format("1RnnBL77j_Can0dY1KOiXHvG224MxjvzC"), LICENCE)
NUMBERS = table_1(0.815, 0.648, 23.797, 0.0934, 0.015, 0.568, 0.492)  # LPIPS is printed as .934, a slip

add(
    ModelCard("fs-ffhq", "face", "fs", "FS as released by its authors, faces, 1024 px", (GENERATOR, ENCODER), NUMBERS),
    ModelCard(
        "portraits-fs",
        "portraits",
        "fs",
        "FS on the rendered portraits of this project, trained here",
        portraits("generator", "fs"),
    ),
)
add_network(
    "arcface-iresnet50",
    "face",
    "insightface's IResNet-50: FS's identity loss, and what the encoders of FS and StyleFeatureEditor begin from",
    WeightFile("backbone.pth", DRIVE.format("1coFTz-Kkgvoc_gRT8JFzqCgeC3lAFWQp"), LICENCE),
)
add_network(
    "face-parsing",
    "face",
    "BiSeNet, which parses faces: FS's parsing loss",
    WeightFile("79999_iter.pth", DRIVE.format("154JgKpzCPW82qINcVieuPH3fZ2e0P812"), "MIT"),
)
