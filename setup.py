"""Installation: `pip install .`, or `pip install -e .[dev]` to work on it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "sdic" / "__init__.py").read_text()).group(1)
REQUIREMENTS = [
    line for line in (HERE / "requirements.txt").read_text().splitlines() if line.strip() and not line.startswith("#")
]
TRAINING = ("lpips", "ranger21", "pytorch-optimizer", "tensorboard", "scikit-learn")
train = [line for line in REQUIREMENTS if line.startswith(TRAINING)]
# What is found beside the code in a clone, and in share/sdic of an installed copy. Other people's files stay out.
SHARED = (
    "editings/manifest.yaml",
    "editings/*/*.safetensors",
    "pretrained/portraits/*.safetensors",
    "pretrained/portraits/*.sha256",
    "pretrained/portraits/examples/*",
)
shared: dict[str, list[str]] = {}
for path in (path.relative_to(HERE) for pattern in SHARED for path in sorted(HERE.glob(pattern))):
    shared.setdefault(f"share/sdic/{path.parent.as_posix()}", []).append(path.as_posix())

setup(
    name="sdic",
    version=VERSION,
    description="Invert a real photo into a frozen StyleGAN2, keep its details, and edit it (SDIC, AAAI 2024)",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["sdic", "sdic.*"]),
    package_data={"sdic.look": ["*.css", "*.js"]},
    data_files=list(shared.items()),
    install_requires=[line for line in REQUIREMENTS if line not in train],
    extras_require={
        "train": train,
        "directions": [line for line in train if line.startswith("scikit-learn")],
        "heif": ["pi-heif>=0.22"],
        "video": ["av>=14"],
        "download": ["gdown>=5", "huggingface_hub>=0.24"],
        "dev": [*train, "av>=14", "pytest>=8", "pytest-xdist>=3", "ruff>=0.8", "mypy>=1.11", "types-PyYAML"],
    },
    entry_points={"console_scripts": ["sdic = sdic.cli:main"]},
)
