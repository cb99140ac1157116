"""What finds faces, where its weights are."""

from __future__ import annotations

import pytest

from sdic import zoo
from sdic.faces.finding import Finder, open_finder


@pytest.fixture(scope="package")
def finder() -> Finder:
    """MediaPipe's networks; tests that ask for them are skipped by name where they are not here."""
    if zoo.find_file(zoo.card("faces").files[0]) is None:
        pytest.skip("needs pretrained/faces.safetensors: sdic download faces")
    return open_finder("mediapipe")
