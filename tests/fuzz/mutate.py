"""Damaged copies of a file, the same ones at every run."""

from __future__ import annotations

import random
from collections.abc import Iterator

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)
"""Bytes at which lengths, counts and signs change their meaning."""


def mutations(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged copies of `data`, decided by `seed` alone: the same on every machine.

    Each copy gets one to four of: bits flipped, the end cut off, bytes inserted, a piece copied over another (spliced),
    a run overwritten, a piece repeated. The first 64 bytes are hit as often as all others together: headers decide.
    No copy is longer than twice `data` plus 4,096 bytes.
    """
    draw = random.Random(f"{seed}:{len(data)}")
    limit = 2 * len(data) + 4096
    for _ in range(count):
        blob = bytearray(data)
        for _ in range(draw.choice((1, 1, 2, 4))):
            draw.choice(_CHANGES)(blob, draw)
        yield bytes(blob[:limit])


def _place(blob: bytearray, draw: random.Random) -> int:
    end = min(len(blob), 64) if draw.random() < 0.5 else len(blob)
    return draw.randrange(end) if end else 0


def _length(draw: random.Random) -> int:
    return draw.choice((1, 2, 4, 8, draw.randint(1, 64), draw.randint(1, 1024)))


def _flip(blob: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 3, 10))):
        if blob:
            blob[_place(blob, draw)] ^= 1 << draw.randrange(8)


def _truncate(blob: bytearray, draw: random.Random) -> None:
    del blob[_place(blob, draw) :]


def _insert(blob: bytearray, draw: random.Random) -> None:
    where = _place(blob, draw)
    blob[where:where] = draw.randbytes(_length(draw))


def _splice(blob: bytearray, draw: random.Random) -> None:
    source, target, length = _place(blob, draw), _place(blob, draw), _length(draw)
    blob[target : target + length] = blob[source : source + length]


def _overwrite(blob: bytearray, draw: random.Random) -> None:
    where, length = _place(blob, draw), _length(draw)
    length = min(length, len(blob) - where)
    value = draw.choice((*INTERESTING, -1))
    blob[where : where + length] = draw.randbytes(length) if value < 0 else bytes([value]) * length


def _repeat(blob: bytearray, draw: random.Random) -> None:
    where, length = _place(blob, draw), _length(draw)
    piece = bytes(blob[where : where + length])
    blob[where:where] = piece * draw.choice((1, 2, 16))


_CHANGES = (_flip, _flip, _truncate, _insert, _splice, _overwrite, _overwrite, _repeat)
