"""Who may import whom (docs/architecture.md). Arrows point down; a forbidden one fails here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sdic"
LEAVES = {"errors", "utils", "types", "changes", "config", "settings"}
ALLOWED = {
    "errors": set(),
    "utils": {"errors", "types"},
    "types": {"errors", "utils"},
    "changes": {"errors"},
    "config": {"errors"},
    "settings": {"errors"},
    "ops": set(),
    "networks": {"ops", *LEAVES},
    "fast": {"ops", "networks", *LEAVES},
    "losses": LEAVES,
    "data": LEAVES,
    "checkpoints": {"networks", *LEAVES},
    "tiny": {"networks", "checkpoints", *LEAVES},
    "zoo": {"networks", "checkpoints", *LEAVES},
    "methods": {"networks", "checkpoints", "zoo", *LEAVES},
    "loading": {"methods", "fast", "networks", "checkpoints", "zoo", "tiny", *LEAVES},
    "feature_networks": {"loading", "losses", "networks", "zoo", *LEAVES},
    "editing": {"networks", "checkpoints", *LEAVES},
    "evaluation": {
        *("methods", "editing", "losses", "data", "zoo", "checkpoints", "loading", "networks", "feature_networks"),
        *LEAVES,
    },
}
"""What a part may import. Parts that are not named here (the trainer, the runner, the commands) may import anything
below them; nothing below may import those."""
TOP = {"training", "portraits", "runner", "commands", "cli", "pictures"}


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


def test_the_rendered_domain_is_known_by_its_name_alone() -> None:
    """Registries import it when its name is asked for (`data.samples.DOMAINS`, `training.task.MODULES`)."""
    users = [path for path in FILES if "portraits" in imports(path) and path.parts[len(PACKAGE.parts)] != "portraits"]
    assert users == []


def test_a_forbidden_import_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from sdic.training.loop import Trainer\n")
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


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nobody_knows_how_networks_are_made_fast(path: Path) -> None:
    """What others use of `sdic.fast` is what its first page offers, never a file inside it."""
    if path.parent.name == "fast":
        return
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        assert not [name for name in names if name.startswith("sdic.fast.")], path
