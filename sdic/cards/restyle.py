"""ReStyle: the authors' releases, over pSp and over e4e."""

from sdic.cards import DRIVE, ModelCard, WeightFile, add


def _file(name: str, identifier: str) -> tuple[WeightFile, ...]:
    return (WeightFile(f"restyle_{name}_encode.pt", DRIVE.format(identifier), "MIT"),)


add(
    ModelCard(
        "restyle-psp-ffhq",
        "face",
        "restyle",
        "ReStyle over pSp, faces, 1024 px",
        _file("psp_ffhq", "1sw6I2lRIB0MpuJkpc8F5BJiSZrc0hjfE"),
    ),
    ModelCard(
        "restyle-e4e-ffhq",
        "face",
        "restyle",
        "ReStyle over e4e, faces, 1024 px",
        _file("e4e_ffhq", "1e2oXVeBPXMQoUoC_4TNwAWpOPpSEhE_e"),
    ),
    ModelCard(
        "restyle-psp-cars",
        "car",
        "restyle",
        "ReStyle over pSp, cars, 512 px",
        _file("psp_cars", "1zJHqHRQ8NOnVohVVCGbeYMMr6PDhRpPR"),
    ),
    ModelCard(
        "restyle-e4e-cars",
        "car",
        "restyle",
        "ReStyle over e4e, cars, 512 px",
        _file("e4e_cars", "1v6Yi-Yne6JX0Pyas6XPS83IzKKUvCe8r"),
    ),
    ModelCard("tiny-restyle", "tiny", "restyle", "ReStyle on the untrained 64 px stack", seed=0),
)
