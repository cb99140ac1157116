"""The text of a setting is one: beside the field, in --help, in the tables of the docs."""

import dataclasses
import re
import runpy

import pytest
from training_processes import REPOSITORY

from sdic.cli import main
from sdic.settings import as_table, rows
from sdic.training.task import tasks


@pytest.mark.parametrize("page", sorted((REPOSITORY / "docs").glob("*.md")), ids=lambda page: page.name)
def test_tables_of_settings_are_current(page):
    current = runpy.run_path(str(REPOSITORY / "scripts" / "settings.py"))["current"]
    text = page.read_text()
    assert current(text) == text, "run: python scripts/settings.py"


def test_every_task_has_a_table_and_every_setting_a_meaning():
    text = "".join(page.read_text() for page in (REPOSITORY / "docs").glob("*.md"))
    for name, entry in tasks().items():
        assert f"<!-- settings: {name} -->" in text
        for row in rows(entry.config()):
            assert row.meaning, f"{name}: {row.key}"


@pytest.mark.parametrize("name", list(tasks()))
def test_help_of_a_task_explains_its_settings(name, capsys):
    with pytest.raises(SystemExit):
        main(["train", name, "--help"])
    said = capsys.readouterr().out
    for row in rows(tasks()[name].config()):
        assert f"{row.key}=" in said
        assert row.meaning in said


def test_a_changed_meaning_would_be_seen():
    @dataclasses.dataclass
    class Config:
        one: int = dataclasses.field(default=1, metadata={"meaning": "what it is"})

    assert "| `one` | `1` | what it is |" in as_table(Config())
    assert not re.search("what it is", as_table(Config(), Config()))
