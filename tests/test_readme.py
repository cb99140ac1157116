"""The README tells the truth: its links lead somewhere, its commands parse, its programs run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from PIL import Image

import sdic
from sdic.cli import _parse, build_parser, main
from sdic.config import load_config

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
USING = (ROOT / "docs" / "using.md").read_text()
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*/README.md"))]


def blocks(language: str, text: str = README) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    for target in [*re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text), *re.findall(r'src="([^"]+)"', text)]:
        if "://" not in target:
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_named_files_exist() -> None:
    for document in DOCUMENTS:
        for name in re.findall(r"`((?:sdic|scripts|configs|tests|docs|editings)/[\w/.]+\.\w+)`", document.read_text()):
            assert (ROOT / name).exists(), f"{document.name} names {name}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_headings_find_them(document: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#]*)#([^)]+)\)", document.read_text()):
        if "://" not in target:
            text = (document.parent / target if target else document).read_text()
            titles = [line.lstrip("#").strip().lower() for line in text.splitlines() if line.startswith("#")]
            anchors = {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
            assert heading in anchors, f"{document.name} links to {target}#{heading}"


def commands() -> list[str]:
    """Those of the blocks, and of the table "What do you want to do?"."""
    lines = [
        line.split("#")[0].strip()
        for text in (README, USING)
        for block in blocks("bash", text)
        for line in block.splitlines()
    ]
    table = [cell for line in README.splitlines() for cell in re.findall(r"^\| [^|]+ \| `([^`]+)` \|", line)]
    return list(dict.fromkeys(line for line in [*lines, *table] if line))


def test_the_table_of_what_to_do_has_a_command_each() -> None:
    rows = re.search(r"## What do you want to do\?\n\n.*?\n\|-.*?\n(.*?)\n\n", README, re.S)
    assert rows
    for row in rows[1].splitlines()[:-1]:
        assert re.search(r"\| `([^`]+)` \|", row)[1] in commands(), row
    assert "](docs/architecture.md)" in rows[1].splitlines()[-1]


@pytest.mark.parametrize("command", commands())
def test_commands_parse(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "torchrun":
        words = ["sdic", *words[words.index("--nproc_per_node") + 2 :]]
        words[1] = Path(words[1]).stem
    if words[0] in ("bash", "python"):
        assert (ROOT / words[1]).is_file()
        return
    assert words[0] == "sdic"
    _, children = build_parser(words[1])
    args = _parse(children[words[1]], words[2:])
    if words[1] == "train":
        from sdic.training.task import find_task

        settings = [word for word in words if "=" in word and not word.startswith("-")]
        assert load_config(find_task(args.task).config, ROOT / args.config, settings)


def test_the_bundled_portraits_are_edited_as_it_says(tmp_path: Path) -> None:
    command = next(line for line in commands() if line.startswith("sdic edit examples --out OUT"))
    words = [str(tmp_path) if word == "OUT" else word for word in shlex.split(command)]
    assert main([*words[1:], "--device", "cpu", "--limit", "1"]) == 0
    assert (tmp_path / "sheet.png").is_file()
    assert [path.parent.name for path in tmp_path.glob("age=20/*.png")] == ["age=20"]


def test_programs_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both programs, on the tiny model and its own direction instead of the full one."""
    monkeypatch.chdir(tmp_path)
    Image.effect_noise((64, 64), 60).convert("RGB").save("me.png")
    programs = [text.replace("sdic-ffhq", "tiny").replace('"age"', '"pc0"') for text in blocks("python")]
    assert len(programs) == 2
    names = {"images": torch.rand(2, 3, 64, 64) * 2 - 1, "direction": sdic.Direction(torch.randn(64))}
    for program in programs:
        exec(compile(program, "README.md", "exec"), names)
    assert (tmp_path / "older.png").is_file()
    assert len(names["sweep"]) == 3
    assert len(sdic.Inversion.load("me.safetensors")) == 2
