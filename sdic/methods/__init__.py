"""Methods: procedures that invert photos. Each is an `Inverter` in a file of its own that registers it."""

import importlib

from sdic.methods.arithmetic import Precision, check_precision, slow_on_cpu
from sdic.methods.base import Inverter
from sdic.methods.registry import METHODS, build_inverter, find_method, method_for, register

FILES = ("e4e", "sdic", "restyle", "hyperstyle", "hfgi", "fs", "sfe", "styleres", "pti", "wplus")
"""The files of this folder that hold methods."""
for _name in FILES:
    importlib.import_module(f"sdic.methods.{_name}")

__all__ = [
    "METHODS",
    "Inverter",
    "Precision",
    "build_inverter",
    "check_precision",
    "find_method",
    "method_for",
    "register",
    "slow_on_cpu",
]
