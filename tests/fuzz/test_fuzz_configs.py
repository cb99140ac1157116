"""Damaged YAML ends in settings or in a line."""

from pathlib import Path

import pytest

from tests.fuzz.sweep import sweep


@pytest.mark.parametrize("name", ["config", "edit-list", "manifest", "labels"])
def test_damaged_settings_are_read_or_refused(name: str, tmp_path: Path) -> None:
    outcome = sweep(name, 300, tmp_path)
    assert outcome.wrong == []
    assert sum(outcome.refused.values()) > 50
