"""Methods: procedures that invert photos. Each is an `Inverter`; `registry.METHODS` lists them."""

from sdic.methods.base import Inverter, Precision, check_precision, slow_on_cpu
from sdic.methods.e4e import E4EInverter
from sdic.methods.registry import METHODS, build_inverter
from sdic.methods.sdic import SDICInverter

__all__ = [
    "METHODS",
    "E4EInverter",
    "Inverter",
    "Precision",
    "SDICInverter",
    "build_inverter",
    "check_precision",
    "slow_on_cpu",
]
