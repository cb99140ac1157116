"""A stage's state on disk: everything that its next step depends on, in parts small enough to be carried anywhere.

`state-STEP.NNN` are the pieces of one torch file; `state-STEP.json`, written last, says how many there are and their
hash. A state without a whole set of pieces counts as not there.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import torch

from sdic.utils.files import write_atomic

PART_BYTES = 15 * 2**20


def write_state(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write a state, then delete older ones: at every moment one whole state is on disk."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    blob = buffer.getvalue()
    stem = f"state-{step:08d}"
    parts = [blob[place : place + PART_BYTES] for place in range(0, len(blob), PART_BYTES)]
    for number, part in enumerate(parts):
        write_atomic(folder / f"{stem}.{number:03d}", part)
    index = {"step": step, "parts": len(parts), "sha256": hashlib.sha256(blob).hexdigest()}
    write_atomic(folder / f"{stem}.json", json.dumps(index))
    for path in folder.glob("state-*"):
        if path.name.split(".")[0] != stem:
            path.unlink(missing_ok=True)


def read_state(folder: Path) -> dict[str, Any] | None:
    """The newest whole state, tensors on the CPU, or None."""
    for path in sorted(folder.glob("state-*.json"), reverse=True):
        try:
            index = json.loads(path.read_text())
            blob = b"".join((folder / f"{path.stem}.{n:03d}").read_bytes() for n in range(index["parts"]))
        except (OSError, ValueError, KeyError):
            continue
        if hashlib.sha256(blob).hexdigest() == index["sha256"]:
            return torch.load(io.BytesIO(blob), map_location="cpu", weights_only=True)
    return None
