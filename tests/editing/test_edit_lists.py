"""Edit lists: names, sweeps, regions, and what is wrong with a list."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdic.editing.lists import distinct, read_edits, restricted
from sdic.editing.words import parse_edits
from sdic.errors import ConfigError


@pytest.fixture
def written(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "list.yaml"
        path.write_text(text)
        return path

    return write


def test_names_words_sweeps_and_regions(written):
    path = written("""
edits:
  wide: pc0=2
  "both": pc0=1,pc1=-1
  slow: pc0=-1:1:3
  part:
    edit: pc1=2
    inside: {ellipse: [0.2, 0.2, 0.8, 0.8]}
""")
    edits = read_edits(path, "tiny")
    assert [edit.label for edit in edits] == ["wide", "both", "slow, pc0=-1", "slow, pc0=0", "slow, pc0=1", "part"]
    assert [edit.sweep for edit in edits[2:5]] == ["slow"] * 3
    assert edits[1].strengths == (1, -1)
    assert edits[5].region is not None
    assert [edit.region for edit in edits[:5]] == [None] * 5
    assert edits[0].identity() == parse_edits(["pc0=2"], "tiny")[0].identity()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must hold edits"),
        ("- age=3", "must hold edits"),
        ("edit:\n  a: pc0=1", "must hold edits, .* and holds 'edit'"),
        ("edits: {}", "must hold edits"),
        ("edits: {a: pc0=1}\nother: 1", "and holds 'other'"),
        ("edits:\n  a: 3", "written as for --edit, such as age=3"),
        ("edits:\n  a: {pc0: 3}", "edit 'a': unknown key 'pc0'.*edit .such as age=3,smile=1. and inside"),
        ("edits:\n  a: {inside: {ellipse: [0, 0, 1, 1]}}", "written as for --edit"),
        ("edits:\n  a: {edit: pc0=1, insid: 3}", "did you mean 'inside'"),
        ("edits:\n  a: {edit: pc0=1, inside: {ring: 3}}", "edit 'a', inside: unknown key 'ring'.*known: rectangle"),
        ("edits:\n  a: nose=3", "list.yaml, edit 'a': unknown direction.*known: pc0, pc1, pc2"),
        ("edits:\n  a: pc0=.nan", "edit 'a'.*'.nan' is not a strength"),
        ("edits:\n  a: pc0=nan", "'nan' is not a strength"),
        ("edits:\n  a: pc0=1:1:3", "from 1 to 1 is empty"),
        ("edits:\n  a: pc0=1:2:0", "a sweep has 2 to 1000 strengths"),
        ("edits:\n  a/b: pc0=1", "a name becomes a folder"),
        ("edits:\n  inversion: pc0=1", "a name becomes a folder"),
        ("edits:\n  .hidden: pc0=1", "a name becomes a folder"),
        ("edits:\n  sheet.png: pc0=1", "a name becomes a folder"),
        ('edits:\n  "": pc0=1', "a name becomes a folder"),
        ("edits:\n  a: pc0=1\n  A: pc0=2", "would be called 'a' and 'A'"),
        ("edits:\n  a: pc0=1\n  a: pc0=2", "'a' is there twice"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text, words, written):
    path = written(text)
    with pytest.raises(ConfigError, match=words) as error:
        read_edits(path, "tiny")
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_list_is_said(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_edits(tmp_path / "none.yaml", "tiny")


def test_a_mask_for_all_goes_into_the_name(tmp_path):
    (tmp_path / "left eye.png").touch()
    (tmp_path / "masks").mkdir()
    edits = parse_edits(["pc0=1", "pc1=-1:1:2"], "tiny")
    inside = restricted(edits, str(tmp_path / "left eye.png"))
    assert [edit.label for edit in inside][:2] == ["pc0=1, inside left eye", "pc1=-1, inside left eye"]
    assert restricted(edits, str(tmp_path / "masks"))[0].region.masks == tmp_path / "masks"
    assert restricted(inside, str(tmp_path / "masks")) == inside
    with pytest.raises(ConfigError, match="no such file for mask"):
        restricted(edits, str(tmp_path / "none.png"))


def test_edits_of_a_command_and_a_list_are_one_list(written):
    edits = [*parse_edits(["pc0=2"], "tiny"), *read_edits(written("edits: {wide: pc0=2}"), "tiny")]
    assert [edit.label for edit in distinct([*edits, *edits])] == ["pc0=2", "wide"]


def test_the_list_of_the_documentation_is_one(written):
    text = (Path(__file__).parents[2] / "docs" / "editing.md").read_text()
    example = text.partition("```yaml\n")[2].partition("```")[0]
    edits = read_edits(written(example), "portraits")
    assert [edit.sweep for edit in edits].count("ages") == 9
    assert sum(edit.region is not None for edit in edits) == 2
