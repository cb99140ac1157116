"""SDIC: invert a real photo into a frozen StyleGAN2, keep its details, and edit it.

    inverter = sdic.load("sdic-ffhq")
    inversion = inverter.invert(images)                  # [B, 3, H, W] in [-1, 1]
    older = inverter.edit(inversion, direction, 3.0)

Names are imported when they are first used, so that `import sdic` and `sdic --help` do not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sdic.direction import Direction
    from sdic.editing.directions import load_direction
    from sdic.editing.masks import Region
    from sdic.loading import load
    from sdic.methods.base import Inverter
    from sdic.pictures import PictureInverter, open_model
    from sdic.types import GeneratorState, Geometry, Inversion

__version__ = "0.1.0"

_HOMES = {
    "load": "sdic.loading",
    "open_model": "sdic.pictures",
    "PictureInverter": "sdic.pictures",
    "load_direction": "sdic.editing.directions",
    "Inverter": "sdic.methods.base",
    "Direction": "sdic.direction",
    "GeneratorState": "sdic.types",
    "Geometry": "sdic.types",
    "Inversion": "sdic.types",
    "Region": "sdic.editing.masks",
}

__all__ = [
    "Direction",
    "GeneratorState",
    "Geometry",
    "Inversion",
    "Inverter",
    "PictureInverter",
    "Region",
    "__version__",
    "load",
    "load_direction",
    "open_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'sdic' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
