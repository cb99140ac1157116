"""Photos to work on, and ways to look at what a run wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = (64, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    small.resize(size, Image.Resampling.BICUBIC).save(path)
    return path


def statuses(report: dict[str, Any]) -> dict[str, str]:
    return {line["name"]: line["status"] for line in report["files"]}


def content(folder: Path) -> dict[str, bytes]:
    """Every file that people see, below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".sdic" not in path.parts and path.name != "report.json"
    }
