"""How much memory is free, where the system says so."""

from __future__ import annotations

from pathlib import Path

MEMINFO = Path("/proc/meminfo")
GROUP = Path("/sys/fs/cgroup")


def available() -> int | None:
    """Bytes that can be had without swapping, by the system and by the limit of the container; None where neither says
    so (not Linux)."""
    found = []
    try:
        lines = dict(line.split(":", 1) for line in MEMINFO.read_text().splitlines())
        found.append(int(lines["MemAvailable"].split()[0]) << 10)
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        used = int((GROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (GROUP / "memory.stat").read_text().splitlines())
        found.append(int((GROUP / "memory.max").read_text()) - used + int(stat["inactive_file"]))
    except (OSError, KeyError, ValueError):  # no limit ("max"), or no such file
        pass
    return max(0, min(found)) if found else None
