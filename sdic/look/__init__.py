"""Ways to look at pictures: side by side in strips and grids, moving, and on one page.

Words of `--look`: see `LOOKS`.
"""

from __future__ import annotations

import math

from sdic.errors import ConfigError, did_you_mean

LOOKS = ("strip", "grid", "webp", "gif", "mp4", "page")
FASTEST = 120.0


def looks_of(words: str, fps: float = 10.0) -> list[str]:
    """The words of `--look`, each once; ConfigError for one that is none, and for a rate that is none."""
    looks = list(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    for look in looks:
        if look not in LOOKS:
            raise ConfigError(f"unknown look {look!r}{did_you_mean(look, LOOKS)}; known: {', '.join(LOOKS)}")
    if not (math.isfinite(fps) and 0 < fps <= FASTEST):
        raise ConfigError(f"fps must be above 0 and at most {FASTEST:g} pictures a second, got {fps:g}")
    return looks
