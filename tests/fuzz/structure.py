"""Damage below the container: blind changes to bytes seldom get past a checksum, a length or a JSON text."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterator
from typing import Any

from tests.fuzz.mutate import mutations

STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 3, 2**31, 2**64, -(2**63), 1e308, 0.5, "", "x", "F32", "I8", "../x", "${oc.env:HOME}"),
    *([], [1], [[]], {}, {"a": 1}, [2**40], [0, 8], [-1, 2], "nan", "9" * 40, "\0", "é"),
)
"""Values that stand where others were expected."""


def damaged(data: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` damaged copies: every second one in its bytes, the others inside: a value in the JSON header of
    safetensors, a member of a zip (with its checksum made right again), a word of a text."""
    draw = random.Random(f"inside {seed}:{len(data)}")
    for number, blob in enumerate(mutations(data, count, seed)):
        if number % 2 == 0:
            yield blob
        elif data[8:9] == b"{":
            yield _header(data, draw)
        elif data[:2] == b"PK":
            yield _member(data, draw)
        elif b"\0" not in data:
            yield _text(data, draw)
        else:
            yield blob


def _header(data: bytes, draw: random.Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    header = _changed(json.loads(data[8 : 8 + size]), draw)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def _changed(value: Any, draw: random.Random) -> Any:
    """A JSON value with one of its parts changed or missing; texts that hold JSON are opened."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.dumps(_changed(json.loads(value), draw))
    if draw.random() < 0.15 or not isinstance(value, (dict, list)) or not value:
        return draw.choice(STRANGE)
    value = dict(value) if isinstance(value, dict) else list(value)
    key = draw.choice(list(value) if isinstance(value, dict) else range(len(value)))
    change = draw.random()
    if change < 0.15:
        del value[key]
    elif change < 0.25 and isinstance(value, dict):
        value[draw.choice(("extra", "", *value))] = value.pop(key)
    else:
        value[key] = _changed(value[key], draw)
    return value


def _member(data: bytes, draw: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = draw.choice([name for name in members for _ in range(4 if name.endswith(".pkl") else 1)])
    if draw.random() < 0.1:
        del members[name]
    else:
        members[name] = next(mutations(members[name], 1, draw.randrange(1 << 30)))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as made:
        for name, content in members.items():
            made.writestr(zipfile.ZipInfo(name), content, made.compression)
    return out.getvalue()


def _text(data: bytes, draw: random.Random) -> bytes:
    words = data.decode(errors="replace").split(" ")
    for _ in range(draw.choice((1, 1, 3))):
        words[draw.randrange(len(words))] = draw.choice(
            (
                *map(str, STRANGE),
                "a: b",
                "*a",
                "&a [*a]",
                "!!python/object/apply:os.getcwd []",
                "[[[[",
                "\n",
                "- ",
                "???",
            )
        )
    return " ".join(words).encode(errors="replace")
