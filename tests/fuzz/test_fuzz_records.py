"""Damaged inversions, directions and hash notes end in a record or in a line."""

from pathlib import Path

import pytest

from tests.fuzz.sweep import sweep


@pytest.mark.parametrize("name", ["inversion", "direction", "hash note", "landmarks", "crops"])
def test_damaged_records_are_read_or_refused(name: str, tmp_path: Path) -> None:
    outcome = sweep(name, 350, tmp_path)
    assert outcome.wrong == []
    assert sum(outcome.refused.values()) > 50
