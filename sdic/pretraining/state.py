"""How a stage keeps its states: in pieces small enough to be carried anywhere, the newest two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sdic.training import state_files

PART_BYTES = 15 * 2**20
KEEP = 2  # one to fall back to


def write_state(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write a state, then delete those before the last one."""
    state_files.write_state(folder, step, state, KEEP, PART_BYTES)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The newest whole state, tensors on the CPU, or None; see `state_files.resume`."""
    return state_files.resume(folder, lambda path, state: state, print)
