"""Who may import whom (docs/architecture.md). Arrows point down; a forbidden one fails here."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sdic"
DRAWING = runpy.run_path(str(ROOT / "scripts" / "draw_rooms.py"))
LEAVES: set[str] = DRAWING["LEAVES"]
imports: Callable[[Path], set[str]] = DRAWING["imports"]
ALLOWED = {
    "errors": set(),
    "utils": {"errors", "types"},
    "types": {"errors", "utils"},
    "direction": {"changes", "errors", "utils"},
    "changes": {"errors"},
    "config": {"errors", "utils"},
    "settings": {"errors"},
    "ops": set(),
    "networks": {"ops", *LEAVES},
    "fast": {"ops", "networks", *LEAVES},
    "losses": LEAVES,
    "look": LEAVES,
    "data": {"domains", *LEAVES},
    "checkpoints": {"networks", *LEAVES},
    "cards": set(),
    "domains": {"errors", "types"},
    "zoo": {"cards", *LEAVES},
    "methods": {"editing", "networks", "checkpoints", *LEAVES},
    "tiny": {"methods", "networks", "checkpoints", *LEAVES},
    "bundles": {"checkpoints", "zoo", "tiny", *LEAVES},
    "feature_networks": {"bundles", "losses", "networks", "zoo", *LEAVES},
    "loading": {
        *("domains", "methods", "fast", "networks", "checkpoints", "zoo", "tiny", "bundles", "feature_networks"),
        *LEAVES,
    },
    "editing": {"ops", "domains", "networks", "checkpoints", *LEAVES},
    "faces": {"data", "networks", "checkpoints", "zoo", *LEAVES},
    "download": {"cards", "checkpoints", "zoo", *LEAVES},
    "evaluation": {
        *("methods", "editing", "losses", "data", "domains", "zoo", "checkpoints", "loading", "networks"),
        *("faces", "feature_networks"),
        *LEAVES,
    },
}
"""What a part may import. Those of TOP may import all of these, and what stands before them in TOP. A rendered domain
is imported by nobody: it is found by its name, through a registry."""
TOP = ("pictures", "training", "runner", "finding", "portraits", "commands", "cli")


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
        above = {"portraits", *TOP[TOP.index(part) :]}
        assert not used & above, f"{relative} imports {sorted(used & above)}"


def test_the_rendered_domain_is_known_by_its_name_alone() -> None:
    """What its entry in `sdic.domains` names is imported when it is asked for."""
    users = [path for path in FILES if "portraits" in imports(path) and path.parts[len(PACKAGE.parts)] != "portraits"]
    assert users == []


def test_a_forbidden_import_would_be_seen(tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text("def f():\n    from sdic.training.loop import Trainer\n")
    assert imports(file) == {"training"}


def test_the_picture_of_the_rooms_is_current() -> None:
    assert (ROOT / "docs" / "rooms.svg").read_text() == DRAWING["svg"](), "run: python scripts/draw_rooms.py"


def test_the_picture_shows_who_imports_whom(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert DRAWING["shortened"](graph) == {"a": {"b"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert DRAWING["levels"](graph) == {"a": 2, "b": 1, "c": 0, "d": 2}
    drawing = runpy.run_path(str(ROOT / "scripts" / "draw_rooms.py"))
    before, (imported, named) = drawing["svg"](), drawing["rooms"]()
    assert "networks" in imported["methods"]
    assert named["domains"] == {"portraits"}
    imported["losses"] |= {"ops"}
    monkeypatch.setitem(drawing["svg"].__globals__, "rooms", lambda: (imported, named))
    assert drawing["svg"]() != before


def test_the_page_has_a_sentence_for_every_room() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    said = re.findall(r"^\| `(\w+)[/.\w]*` \| [A-Z\w`].*\. \|$", page, re.M)
    rooms = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in FILES}
    assert sorted(said) == sorted(room for room in rooms if not room.startswith("__"))


def module_of(path: Path) -> str:
    """The name by which a file of sdic is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_imports_in_a_circle() -> None:
    """File by file, of what is imported as a file is imported (not later, inside a function)."""
    modules = {module_of(path): path for path in FILES}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = set()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom) and node.module:
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= (whole & set(modules)) | ({node.module} if whole - set(modules) else set())
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        graph[name] = (found & set(modules)) - {name, "sdic"}
    while ends := [name for name, used in graph.items() if not used]:
        for name in ends:
            del graph[name]
        graph = {name: used - set(ends) for name, used in graph.items()}
    assert not graph, f"in a circle, or above one: {', '.join(sorted(graph))}"


OWN = {
    "e4e": {"e4e", "psp"},
    "sdic": {"sdic"},
    "restyle": {"restyle"},
    "hyperstyle": {"hyperstyle"},
    "pti": {"pti"},
    "wplus": {"wplus"},
    "hfgi": {"hfgi"},
    "fs": {"fs"},
    "sfe": {"sfe", "sfe-inverter"},
    "styleres": {"styleres"},
}
"""Name of a file -> the methods whose own it is, wherever it lies: method, layout, cards, training."""
LISTS = {"methods/__init__.py", "checkpoints/layouts/__init__.py", "zoo.py", "training/task.py"}
"""Those that name the files to import, each once."""
OTHER_MEANINGS = {
    "cli.py": {"sdic"},  # the program
    "checkpoints/layouts/styleres.py": {"e4e"},  # a key of its file
    "__init__.py": {"sdic"},
    "editing/manifest.py": {"sdic"},  # a folder
    "evaluation/results.py": {"sdic"},  # the version
    "runner/report.py": {"sdic"},
    "tiny.py": {"sdic"},  # whose networks it has where no method is named
    "portraits/build.py": {"e4e"},  # which encoder the domain trains
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_method_is_named_outside_its_own_files(path: Path) -> None:
    from sdic.methods import METHODS

    relative = str(path.relative_to(PACKAGE))
    names = set().union(*OWN.values()) - OWN.get(path.stem, set()) - OTHER_MEANINGS.get(relative, set())
    if relative in LISTS:
        return
    kinds = {METHODS[name].__name__ for name in names}
    for node in ast.walk(ast.parse(path.read_text())):
        said = {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()
        if isinstance(node, ast.ImportFrom) and node.module:
            said |= {alias.name for alias in node.names} & kinds
            said |= {node.module.rpartition(".")[2]} if node.module.startswith("sdic.methods") else set()
        said |= {node.id} & kinds if isinstance(node, ast.Name) else set()
        assert not said & (names | kinds), f"{relative}: {ast.unparse(node)} names {said & (names | kinds)}"


def test_every_method_has_files_of_its_own() -> None:
    from sdic import methods

    assert set(OWN) == set(methods.FILES)
    for file, names in OWN.items():
        assert {methods.METHODS[name].__module__ for name in names} == {f"sdic.methods.{file}"}


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
