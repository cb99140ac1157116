"""Long runs of the sweeps: in processes of their own, with a summary."""

from __future__ import annotations

import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

CHUNK = 2000  # inputs of a process


def run(names: list[str], count: int, seed: int, limit: float, jobs: int, keep: Path) -> tuple[str, bool]:
    """(the summary in Markdown, whether nothing left a closed list) of `count` inputs shared among the parsers.

    keep: a folder for the files that were wrong.
    """
    keep.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    shares = {name: count // len(names) + (index < count % len(names)) for index, name in enumerate(names)}
    tasks = [
        (name, share, seed, limit, first, min(first + CHUNK, share), keep)
        for name, share in shares.items()
        for first in range(0, share, CHUNK)
    ]
    with ThreadPoolExecutor(jobs) as threads:
        found = list(threads.map(lambda task: _chunk(*task), tasks))
    rows = []
    for name in names:
        parts = [part for task, part in zip(tasks, found, strict=True) if task[0] == name]
        refused: Counter[str] = Counter()
        for part in parts:
            refused.update(part["refused"])
        rows.append(
            f"| {name} | {sum(p['inputs'] for p in parts):,} | {sum(p['accepted'] for p in parts):,} | "
            f"{', '.join(f'{kind} {number:,}' for kind, number in sorted(refused.items()))} | "
            f"{max(p['slowest'] for p in parts):.2f} | {max(p['memory'] for p in parts):.0f} | "
            f"{sum(len(p['wrong']) for p in parts)} |"
        )
    wrong = [line for part in found for line in part["wrong"]]
    seconds = time.perf_counter() - started
    lines = [
        "# Damaged files",
        "",
        f"{sum(shares.values()):,} damaged files, seed {seed}, at most {limit:g} s each; {seconds:.0f} s in all, "
        f"{jobs} at a time. Made and read by `scripts/fuzz.py`.",
        "",
        "| parser | inputs | accepted | refused | slowest (s) | memory (MB) | outside the closed list |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        "Accepted: the damage did not touch what is read, or left a valid file. Memory: of the process, at its peak.",
        *(["", "## Outside the closed list", "", *(f"- {line}" for line in wrong)] if wrong else []),
    ]
    return "\n".join(lines) + "\n", not wrong


def _chunk(name: str, count: int, seed: int, limit: float, first: int, end: int, keep: Path) -> dict[str, Any]:
    """A part of a sweep in a process of its own; one that dies or hangs is an outcome too, and the rest goes on."""
    total: dict[str, Any] = {"inputs": 0, "accepted": 0, "refused": {}, "slowest": 0.0, "memory": 0.0, "wrong": []}
    while first < end:
        with tempfile.TemporaryDirectory() as folder:
            words = (name, count, seed, limit, first, end, folder, keep)
            process = multiprocessing.get_context("spawn").Process(target=_work, args=words)
            process.start()
            note, before, since = Path(folder) / "at", None, time.monotonic()
            while process.is_alive():
                process.join(0.2)
                now = note.read_text() if note.exists() else None
                if now != before:
                    before, since = now, time.monotonic()
                if time.monotonic() - since > 3 * limit + 60:  # even its alarm does not reach it
                    process.kill()
                    process.join()
            result = Path(folder) / "result"
            if process.exitcode == 0 and result.exists():
                _add(total, json.loads(result.read_text()))
                return total
            at = int(note.read_text()) if note.exists() else first
            for path in (Path(folder) / "files" / "damaged").glob("*"):
                shutil.copy(path, keep / f"{name.replace(' ', '-')}-{seed}-{at}-{path.name}")
            line = f"{name}, seed {seed}, input {at} of {count}: the process ended with code {process.exitcode}"
            _add(total, {"inputs": at + 1 - first, "wrong": [line]})
            first = at + 1
    return total


def _add(total: dict[str, Any], part: dict[str, Any]) -> None:
    for name in ("inputs", "accepted", "wrong"):
        total[name] += part.get(name, type(total[name])())
    for name in ("slowest", "memory"):
        total[name] = max(total[name], part.get(name, 0.0))
    total["refused"] = dict(Counter(total["refused"]) + Counter(part.get("refused", {})))


def _work(name: str, count: int, seed: int, limit: float, first: int, end: int, folder: str, keep: Path) -> None:
    import torch

    from tests.fuzz.sweep import sweep

    torch.set_num_threads(1)
    note = Path(folder) / "at"
    part = (first, end)
    found = sweep(
        name, count, Path(folder) / "files", seed, limit, part, lambda number: note.write_text(str(number)), keep
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outcome = {**vars(found), "refused": dict(found.refused), "memory": memory}
    (Path(folder) / "result").write_text(json.dumps(outcome))
