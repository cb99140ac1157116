"""Networks that methods are trained and measured with: generators, identity, perceptual distance, attributes."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add, portraits

add(
    ModelCard(
        name="stylegan2-ffhq",
        domain="face",
        method=None,
        description="StyleGAN2 config-f generator, faces, 1024 px (for training e4e or SDIC)",
        files=(
            WeightFile(
                "stylegan2-ffhq-config-f.pt",
                DRIVE.format("1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT"),
                "Nvidia Source Code License-NC",
            ),
        ),
    ),
    ModelCard(
        name="arcface",
        domain="face",
        method=None,
        description="ArcFace IR-SE50, the identity loss for faces",
        files=(WeightFile("model_ir_se50.pth", DRIVE.format("1KW7bjndL3QG3sxBbZxreGHigcCCpsDgn"), "MIT"),),
    ),
    ModelCard(
        name="curricularface",
        domain="face",
        method=None,
        description="CurricularFace IR-101, the identity metric of the tables",
        files=(
            WeightFile(
                "CurricularFace_Backbone.pth",
                "https://github.com/HuangYG123/CurricularFace (model list in its README)",
                "MIT",
            ),
        ),
    ),
    ModelCard(
        name="moco",
        domain="car",
        method=None,
        description="MoCo v2 ResNet-50, the identity loss for other domains",
        files=(
            WeightFile("moco_v2_800ep_pretrain.pt", DRIVE.format("18rLcNGdteX5LwT7sv_F7HWr12HpVEzVe"), "CC BY-NC 4.0"),
        ),
    ),
    ModelCard(
        name="portraits-attributes",
        domain="portraits",
        method=None,
        description="yaw, smile and age of a portrait, and the perceptual distance of the domain",
        files=portraits("attributes"),
    ),
    ModelCard(
        name="portraits-identity",
        domain="portraits",
        method=None,
        description="the identity network of portraits: loss and metric",
        files=portraits("identity"),
    ),
)
