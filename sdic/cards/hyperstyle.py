"""HyperStyle: the authors' releases. A model is two files: the hypernetwork with its generator, and a W encoder."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add, table_1

FACE = WeightFile("hyperstyle_ffhq.pt", DRIVE.format("1C3dEIIH1y8w1-zQMCyx7rDF0ndswSXh4"), "MIT")
FACE_ENCODER = WeightFile("faces_w_encoder.pt", DRIVE.format("1M-hsL3W_cJKs77xM1mwq2e9-J0_m7rHP"), "MIT")
CAR = WeightFile("hyperstyle_cars.pt", DRIVE.format("1WZ7iNv5ENmxXFn6dzPeue1jQGNp6Nr9d"), "MIT")
CAR_ENCODER = WeightFile("cars_w_encoder.pt", DRIVE.format("1GZke8pfXMSZM9mfT-AbP1Csyddf5fas7"), "MIT")
NUMBERS = table_1(0.737, 0.624, 22.513, 0.104, 0.025, 0.710, 0.663)

add(
    ModelCard("hyperstyle-ffhq", "face", "hyperstyle", "HyperStyle, faces, 1024 px", (FACE, FACE_ENCODER), NUMBERS),
    ModelCard("hyperstyle-cars", "car", "hyperstyle", "HyperStyle, cars, 512 px", (CAR, CAR_ENCODER)),
    ModelCard("tiny-hyperstyle", "tiny", "hyperstyle", "HyperStyle on the untrained 64 px stack", seed=0),
)
