"""Damaged zips and lists of names: a ConfigError or, for one picture, an ImageError, and nothing else."""

from __future__ import annotations

import io
import time
import tracemalloc
import zipfile

import pytest
from PIL import Image

from sdic.data.folder import choose, read_name_list
from sdic.data.sources import Request, open_source
from sdic.errors import ConfigError, ImageError, SdicError
from sdic.runner.inputs import collect
from tests.fuzz.mutate import mutations

SECONDS = 3.0
BYTES = 50_000_000


def photo(colour: str) -> bytes:
    blob = io.BytesIO()
    Image.new("RGB", (24, 24), colour).save(blob, "PNG")
    return blob.getvalue()


def made(how: int) -> bytes:
    blob = io.BytesIO()
    with zipfile.ZipFile(blob, "w", how) as archive:
        for index, colour in enumerate(("red", "green", "blue")):
            archive.writestr(f"folder/{index}.png", photo(colour))
        archive.writestr("folder/notes.txt", "no picture")
        archive.writestr("folder/without an ending", photo("white"))
        archive.comment = b"a comment"
    return blob.getvalue()


def said(call) -> str:
    """The line of the error that a call may raise, or an empty string."""
    start = time.process_time()
    tracemalloc.start()
    try:
        call()
        line = ""
    except (ConfigError, ImageError) as error:
        line = str(error)
        assert line
        assert "\n" not in line
        assert len(line) < 5000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < BYTES
    assert time.process_time() - start < SECONDS
    return line


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_mutated_zips(tmp_path, how):
    path = tmp_path / "a.zip"
    outcomes = []

    def train() -> None:
        source, names, _ = open_source(Request("zip", str(path)))
        for name in names:
            source.read(name)

    def invert() -> None:
        for item in collect([str(path)], tmp_path / "out", inversions=False):
            assert ".." not in item.stem.split("/") or item.problem
            if item.problem is None and item.archive is not None:
                try:
                    item.archive.read(item.member)
                except ImageError as error:
                    outcomes.append(str(error))

    data = made(how)
    for blob in (data, *mutations(data, 150, 5), *(data[:200] + blob for blob in mutations(data[200:], 50, 6))):
        path.write_bytes(blob)
        outcomes += [said(train), said(invert)]
    # The directory alone, where sizes, methods and names stand.
    start = data.index(b"PK\1\2")
    for blob in mutations(data[start:], 150, 7):
        path.write_bytes(data[:start] + blob)
        outcomes += [said(train), said(invert)]
    assert "" in outcomes
    assert len(set(outcomes)) > 10


def test_mutated_lists(tmp_path):
    names = [f"folder/{index:03d}.png" for index in range(40)]
    text = "# chosen\n" + "\n".join(names[:20]) + "\n030\n"
    path = tmp_path / "list.txt"
    outcomes = []
    for data in (text.encode(), text.encode("utf-16"), ("\ufeff" + text).encode()):
        for blob in (data, *mutations(data, 150, 8)):
            path.write_bytes(blob)
            outcomes.append(said(lambda: choose(names, read_name_list(path), "list.txt")))
    assert "" in outcomes
    assert issubclass(ConfigError, SdicError)
    assert len(set(outcomes)) > 10
