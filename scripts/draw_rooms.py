"""Draw the rooms of sdic and who imports whom: `python scripts/draw_rooms.py` writes docs/rooms.svg.

Rooms and arrows are read from the imports; a test fails where the picture is not what this draws. An arrow that follows
from others (a to b, where a reaches b through c) is left out, and so are those to the leaves, which all rooms use.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "sdic"
PICTURE = ROOT / "docs" / "rooms.svg"
LEAVES = {"errors", "utils", "types", "direction", "changes", "config", "settings"}
"""They know nothing of the others, and everybody may import them."""
CAPTIONS = {
    "ops": "operations, plain and fast",
    "networks": "as in their papers",
    "fast": "how they are made fast",
    "checkpoints": "weight files, ours and others'",
    "cards": "the published models",
    "zoo": "where their files are",
    "domains": "one entry a domain",
    "methods": "one file a method",
    "bundles": "networks by name or file",
    "loading": "name or file to inverter",
    "tiny": "an untrained stack",
    "feature_networks": "of losses and metrics",
    "editing": "directions",
    "faces": "found, aligned, put back",
    "look": "strips, animations, a page",
    "losses": "terms of losses",
    "data": "pictures in their order",
    "pictures": "pictures in and out",
    "evaluation": "metrics, tables, sheets",
    "training": "one loop, many tasks",
    "portraits": "the rendered domain",
    "runner": "folders of photos",
    "finding": "directions, found",
    "commands": "one thin file each",
    "cli": "the word sdic",
}

Graph = dict[str, set[str]]


# Who imports whom -----------------------------------------------------------------------------------------------------


def part_of(module: str) -> str:
    """The room of a module: sdic.ROOM.more -> ROOM."""
    return module.split(".")[1] if "." in module else ""


def imports(path: Path) -> set[str]:
    """The rooms that a file imports, also inside functions; imports for type checking alone do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
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


def names(path: Path) -> set[str]:
    """The rooms that a file imports by a name in a string, when the name is asked for."""
    text = path.read_text(encoding="utf-8")
    return set(re.findall(r'"sdic\.(\w+)\.', text)) if "importlib.import_module(" in text else set()


def rooms() -> tuple[Graph, Graph]:
    """Room -> the rooms that it imports, and those that it knows by name alone; without the leaves."""
    imported: Graph = {}
    named: Graph = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if not room.startswith("__") and room not in LEAVES:
            imported.setdefault(room, set()).update(imports(path))
            named.setdefault(room, set()).update(names(path))
    for room in imported:
        imported[room] &= set(imported) - {room}
        named[room] &= set(imported) - {room} - imported[room]
    return imported, named


def reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    """Every room below one."""
    found: set[str] = set()
    todo = list(graph[start])
    while todo:
        room = todo.pop()
        if room not in found:
            found.add(room)
            todo += graph[room]
    return found


def shortened(graph: Graph) -> Graph:
    """Without the arrows that follow from others."""
    return {
        room: {to for to in below if not any(to in reachable(graph, other) for other in below - {to})}
        for room, below in graph.items()
    }


# Where they stand -----------------------------------------------------------------------------------------------------

WIDTH, HEIGHT, GAP, ROW, MARGIN = 168, 40, 20, 76, 20
Node = str | tuple[str, str, int]  # a room, or where the arrow from a room to another passes a row


def levels(graph: Graph) -> dict[str, int]:
    """The row of every room, 0 at the bottom: just below the lowest room that imports it."""
    above: Graph = {room: {other for other in graph if room in graph[other]} for room in graph}
    depth: dict[str, int] = {}

    def find(room: str) -> int:
        if room not in depth:
            depth[room] = 1 + max((find(other) for other in above[room]), default=-1)
        return depth[room]

    deepest = max(find(room) for room in sorted(graph))
    return {room: deepest - depth[room] for room in sorted(graph)}


def places(graph: Graph, row_of: Mapping[str, int]) -> tuple[dict[Node, float], list[list[Node]]]:
    """The middle of everything in its row, and every arrow as the nodes that it goes through.

    Rows are sorted by the mean place of what their nodes are joined with, up and down until nothing moves much.
    """
    rows: list[list[Node]] = [[] for _ in range(1 + max(row_of.values()))]
    for room in sorted(graph):
        rows[row_of[room]].append(room)
    arrows: list[list[Node]] = []
    for room in sorted(graph):
        for to in sorted(graph[room]):
            passed: list[Node] = [(room, to, row) for row in range(row_of[room] - 1, row_of[to], -1)]
            for step in passed:
                rows[step[2]].append(step)  # type: ignore[index, call-overload]
            arrows.append([room, *passed, to])
    joined: dict[Node, list[Node]] = {node: [] for row in rows for node in row}
    for arrow in arrows:
        for first, second in pairwise(arrow):
            joined[first].append(second)
            joined[second].append(first)
    middle = {node: float(100 * place) for row in rows for place, node in enumerate(row)}
    for turn in range(60):
        for row in rows if turn % 2 else rows[::-1]:
            wanted = {node: _mean((middle[other] for other in joined[node]), middle[node]) for node in row}
            row.sort(key=lambda node: wanted[node])
            _spread(row, wanted, middle)
    return middle, arrows


def _mean(values: Iterable[float], otherwise: float) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else otherwise


def _half(node: Node) -> float:
    return WIDTH / 2 if isinstance(node, str) else 4


def _spread(row: list[Node], wanted: Mapping[Node, float], middle: dict[Node, float]) -> None:
    """Place a sorted row as near to where it should be as the widths allow: from the left, from the right, the mean."""
    left: list[float] = []
    for place, node in enumerate(row):
        least = left[-1] + _half(row[place - 1]) + GAP + _half(node) if place else -1e9
        left.append(max(wanted[node], least))
    right: list[float] = []
    for place, node in enumerate(reversed(row)):
        most = right[-1] - _half(row[-place]) - GAP - _half(node) if place else 1e9
        right.append(min(wanted[node], most))
    for node, one, other in zip(row, left, reversed(right), strict=True):
        middle[node] = (one + other) / 2


# The picture ----------------------------------------------------------------------------------------------------------


def svg() -> str:
    """The picture as it should be."""
    imported, named = rooms()
    downwards = {room: set(below) for room, below in imported.items()}
    upwards: list[tuple[str, str]] = []
    for room in sorted(named):
        for to in sorted(named[room]):
            if room in reachable(imported, to):
                upwards.append((room, to))
            else:
                downwards[room].add(to)
    row_of = levels(downwards)
    middle, arrows = places(shortened(downwards), row_of)
    shift = MARGIN - min(middle[node] - _half(node) for node in middle)
    width = round(shift + max(middle[node] + _half(node) for node in middle) + MARGIN)
    top = max(row_of.values())
    bottom = MARGIN + top * ROW + HEIGHT

    def point(node: Node) -> tuple[float, float]:
        row = row_of[node] if isinstance(node, str) else node[2]
        return middle[node] + shift, MARGIN + (top - row) * ROW

    lines = []
    for arrow in arrows:
        room, to = str(arrow[0]), str(arrow[-1])
        points = [point(node) for node in arrow]
        path = [(points[0][0], points[0][1] + HEIGHT)]
        for x, y in points[1:-1]:
            path += [(x, y), (x, y + HEIGHT)]
        lines.append(_curve([*path, points[-1]], "name" if to in named[room] else "import"))
    for room, to in upwards:
        (x, y), (end, end_y) = point(room), point(to)
        lines.append(_curve([(x + WIDTH / 3, y), (end + WIDTH / 3, end_y + HEIGHT)], "name"))
    boxes = [_box(room, *point(room)) for room in sorted(row_of)]
    leaves = ", ".join(name for name in sorted(LEAVES) if any(PACKAGE.glob(f"{name}*")))
    said = "arrow: imports, those that follow from others left out; dashed: known by its name alone"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 84}" font-family="sans-serif">',
            "<title>The rooms of sdic and who imports whom</title>",
            "<style>text{text-anchor:middle;fill:#222}.room{font-size:15px;font-weight:bold}.what{font-size:11px}"
            "path{fill:none;stroke:#56708a;stroke-width:1.4}.name{stroke:#b0622a;stroke-dasharray:5 4}"
            "rect{fill:#eef3f8;stroke:#56708a}</style>",
            *(
                f'<marker id="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
                'orient="auto">'
                f'<path d="M0 0L8 4L0 8z" style="fill:{colour};stroke:none"/></marker>'
                for kind, colour in (("import", "#56708a"), ("name", "#b0622a"))
            ),
            f'<rect width="{width}" height="{bottom + 84}" style="fill:#fff;stroke:none"/>',
            *lines,
            *boxes,
            f'<rect x="{MARGIN}" y="{bottom + 20}" width="{width - 2 * MARGIN}" height="26" rx="6"/>',
            f'<text class="what" x="{width / 2:.0f}" y="{bottom + 37}">everybody may import: {leaves}</text>',
            f'<text class="what" x="{width / 2:.0f}" y="{bottom + 68}">{said}</text>',
            "</svg>",
            "",
        ]
    )


def _curve(points: list[tuple[float, float]], kind: str) -> str:
    """An arrow that leaves and enters upright."""
    parts = [f"M{points[0][0]:.0f} {points[0][1]:.0f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        half = (y + to_y) / 2
        parts.append(f"C{x:.0f} {half:.0f} {to_x:.0f} {half:.0f} {to_x:.0f} {to_y:.0f}")
    return f'<path class="{kind}" marker-end="url(#{kind})" d="{"".join(parts)}"/>'


def _box(room: str, x: float, y: float) -> str:
    return (
        f'<rect x="{x - WIDTH / 2:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text class="room" x="{x:.0f}" y="{y + 17:.0f}">{room}</text>'
        f'<text class="what" x="{x:.0f}" y="{y + 32:.0f}">{CAPTIONS.get(room, "")}</text>'
    )


if __name__ == "__main__":
    PICTURE.write_text(svg(), encoding="utf-8")
    print(PICTURE.relative_to(ROOT))
