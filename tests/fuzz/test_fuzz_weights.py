"""Damaged weight files end in a network or in a line, within seconds."""

from pathlib import Path

import pytest

from tests.fuzz.sweep import sweep


@pytest.mark.parametrize("name", ["foreign weights", "our weights", "tflite"])
def test_damaged_weight_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    outcome = sweep(name, 350, tmp_path)
    assert outcome.wrong == []
    assert outcome.inputs == 350
    assert sum(outcome.refused.values()) > 100
