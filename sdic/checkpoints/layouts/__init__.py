"""The layouts of other people's files, one file for each family.

A family's file says how its layouts are recognised, which rule renames or drops each key, and how they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sdic.checkpoints.bundle import Bundle
from sdic.checkpoints.layouts import (
    bisenet,
    e4e,
    fs,
    hfgi,
    hyperstyle,
    identity,
    mediapipe,
    restyle,
    sdic,
    sfe,
    stylegan2,
    styleres,
)
from sdic.checkpoints.layouts.common import Layout
from sdic.errors import CheckpointError

FORMATS: dict[str, Layout] = {
    **sdic.LAYOUTS,
    **hyperstyle.LAYOUTS,
    **restyle.LAYOUTS,
    **hfgi.LAYOUTS,
    **fs.LAYOUTS,
    **sfe.LAYOUTS,
    **e4e.LAYOUTS,
    **styleres.LAYOUTS,
    **stylegan2.LAYOUTS,
    **identity.LAYOUTS,
    **bisenet.LAYOUTS,
    **mediapipe.LAYOUTS,
}
"""The layouts, in the order in which they are tried."""


def detect_format(content: Any, what: str) -> str:
    """The name of the layout of what `load_tensors` returned; CheckpointError if it is none that we know."""
    for name, layout in FORMATS.items():
        if layout.recognise(content):
            return name
    keys = list(content)[:6] if isinstance(content, Mapping) else type(content).__name__
    known = "; ".join(
        f"{name}: {layout.description}, expected {layout.mismatch(content)}" for name, layout in FORMATS.items()
    )
    raise CheckpointError(f"{what}: a layout that sdic does not know (it begins with {keys}). Known layouts: {known}")


def read_foreign(content: Any, what: str, layout: str | None = None) -> Bundle:
    """Build the networks of a loaded file; `layout` forces one of `FORMATS`, None detects it."""
    name = detect_format(content, what) if layout is None else layout
    bundle = Bundle({}, {"file": what, "layout": name})
    FORMATS[name].read(content, bundle)
    return bundle


__all__ = ["FORMATS", "Layout", "detect_format", "read_foreign"]
