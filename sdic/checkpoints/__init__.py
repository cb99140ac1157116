"""Weight files: our own safetensors, the layouts that users bring, and the tables between them."""

from sdic.checkpoints.bundle import NETWORKS, Bundle, NetworkKind, kind_of
from sdic.checkpoints.layouts import FORMATS, detect_format, read_foreign
from sdic.checkpoints.native import copy_native, read_native, write_native
from sdic.checkpoints.reading import read_bundle

__all__ = [
    "FORMATS",
    "NETWORKS",
    "Bundle",
    "NetworkKind",
    "copy_native",
    "detect_format",
    "kind_of",
    "read_bundle",
    "read_foreign",
    "read_native",
    "write_native",
]
