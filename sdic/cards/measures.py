"""Networks that methods are trained and measured with: generators, identity, perceptual distance, attributes."""

from sdic.cards import DRIVE, GENERATOR, WeightFile, add_network, portraits

add_network(
    "stylegan2-ffhq",
    "face",
    "StyleGAN2 config-f generator, faces, 1024 px (for training e4e or SDIC)",
    GENERATOR,
)
add_network(
    "arcface",
    "face",
    "ArcFace IR-SE50, the identity loss for faces",
    WeightFile("model_ir_se50.pth", DRIVE.format("1KW7bjndL3QG3sxBbZxreGHigcCCpsDgn"), "MIT"),
)
add_network(
    "curricularface",
    "face",
    "CurricularFace IR-101, the identity metric of the tables",
    WeightFile(
        "CurricularFace_Backbone.pth", "https://github.com/HuangYG123/CurricularFace (model list in its README)", "MIT"
    ),
)
add_network(
    "moco",
    "car",
    "MoCo v2 ResNet-50, the identity loss for other domains",
    WeightFile("moco_v2_800ep_pretrain.pt", DRIVE.format("18rLcNGdteX5LwT7sv_F7HWr12HpVEzVe"), "CC BY-NC 4.0"),
)
add_network(
    "portraits-attributes",
    "portraits",
    "yaw, smile and age of a portrait, and the perceptual distance of the domain",
    *portraits("attributes"),
)
add_network(
    "portraits-identity",
    "portraits",
    "the identity network of portraits: loss and metric",
    *portraits("identity"),
)
