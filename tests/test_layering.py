"""Who may import whom (docs/architecture.md). Arrows point down; a forbidden one fails here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sdic"
LEAVES = {"errors", "utils", "types", "config"}
ALLOWED = {
    "errors": set(),
    "utils": {"errors", "types"},
    "types": {"errors", "utils"},
    "config": {"errors", "utils"},
    "ops": set(),
    "networks": {"ops", *LEAVES},
    "losses": LEAVES,
    "data": LEAVES,
    "checkpoints": {"networks", *LEAVES},
    "tiny": {"networks", "checkpoints", *LEAVES},
    "zoo": {"networks", "checkpoints", *LEAVES},
    "methods": {"networks", "checkpoints", "zoo", *LEAVES},
    "loading": {"methods", "networks", "checkpoints", "zoo", "tiny", *LEAVES},
    "feature_networks": {"loading", "losses", "networks", "zoo", *LEAVES},
    "editing": {"networks", "checkpoints", *LEAVES},
    "faces": {"networks", "checkpoints", "zoo", *LEAVES},
    "download": {"checkpoints", "zoo", *LEAVES},
    "evaluation": {
        *("methods", "editing", "losses", "data", "zoo", "checkpoints", "loading", "networks", "feature_networks"),
        *LEAVES,
    },
}
"""What a part may import. Parts that are not named here (the trainer, the runner, the commands) may import anything
below them; nothing below may import those."""
TOP = {"training", "pretraining", "runner", "commands", "cli", "pictures"}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> set[str]:
    """The parts of sdic that a file imports, also inside functions; imports for type checking alone do not count."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sdic":
            names = [node.module] if "." in node.module else [f"sdic.{alias.name}" for alias in node.names]
            found |= {part_of(name) for name in names}
        elif isinstance(node, ast.Import):
            found |= {part_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "sdic"}
    return found - {""}


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    part = relative.parts[0].removesuffix(".py")
    if part == "__init__" or part == "__main__":
        return
    used = imports(path) - {part, "__version__"}
    if part in ALLOWED:
        assert used <= ALLOWED[part], f"{relative} imports {sorted(used - ALLOWED[part])}"
    else:
        assert part in TOP, f"{part}: a new part; say in ALLOWED or TOP what it may import"


def test_a_forbidden_import_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from sdic.training.trainer import Trainer\n")
    assert imports(file) == {"training"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_device_is_hard_coded(path: Path) -> None:
    """`.cuda()` and literal devices belong nowhere but in the two functions that choose one."""
    text = path.read_text()
    assert ".cuda()" not in text
    chooses = str(path.relative_to(PACKAGE)) in {"utils/tensors.py", "training/distributed.py"}
    assert chooses or not re.search(r"""(to|device)\(["']cuda""", text)


def test_nothing_of_a_machine_is_committed() -> None:
    for folder in ("sdic", "scripts", "configs", "editings", "docs", "tests"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".yaml", ".md", ".sh", ".json", ".csv"} and path != Path(__file__):
                text = path.read_text()
                assert "/home/" not in text, path
                assert "/root/" not in text, path
