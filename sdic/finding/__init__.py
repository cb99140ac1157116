"""Directions found in any generator: from labels, an attribute network, or two folders of photos.

found = find(FindSettings(name="age", model="portraits", out="age.safetensors"))
"""

from sdic.finding.channels import rank
from sdic.finding.drawing import draw
from sdic.finding.find import Found, find
from sdic.finding.settings import FindSettings

__all__ = ["FindSettings", "Found", "draw", "find", "rank"]
