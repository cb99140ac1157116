"""Damaged and hostile pictures: an ImageError of one line or a picture, in little time and memory, and nothing else."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from sdic.errors import ImageError
from sdic.utils.images import check_picture, read_picture, what_is
from tests.fuzz.mutate import mutations
from tests.fuzz.samples import bombs, pictures, scan_bomb

PICTURES = pictures()
BOMBS = bombs()
SECONDS = 3.0
MEGABYTES = 150


def outcome(data: bytes) -> str:
    """What became of a file: "" for a picture, else the error's line. Anything but the closed list fails the test."""
    start = time.process_time()
    try:
        picture = read_picture(io.BytesIO(data), 1_000_000)
        assert picture.mode == "RGB"
        assert picture.width * picture.height <= 1_000_000
        said = ""
    except ImageError as error:
        said = str(error)
        assert said
        assert said.isprintable()
        assert len(said) < 400
    assert time.process_time() - start < SECONDS
    return said


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PICTURES)
def test_mutated_pictures(name):
    data = PICTURES[name]
    assert outcome(data) == "" if not name.startswith("float") else "do not say what is white" in outcome(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for blob in mutations(data, 40, 1):
        outcome(blob)
        what_is("photo", io.BytesIO(blob))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEGABYTES * 1024


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BOMBS)
def test_small_files_that_would_cost_much_are_refused_at_once(name):
    data, said = BOMBS[name]
    assert len(data) < 6_000_000
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(ImageError, match=said):
        read_picture(io.BytesIO(data))
    seconds = time.process_time() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < SECONDS
    assert peak < 60_000_000


@pytest.mark.parametrize("name", ["plain.webp", "plain.avif", "plain.jpg", "plain.tif"])
def test_a_file_of_too_many_bytes_is_refused_before_it_is_read(name, tmp_path):
    if name not in PICTURES:
        pytest.skip("this Pillow has no AVIF")
    path = tmp_path / name
    path.write_bytes(PICTURES[name])
    assert read_picture(path).size
    with open(path, "ab") as handle:
        handle.truncate(1 << 30)  # no byte of it is on the disk
    tracemalloc.start()
    with pytest.raises(ImageError, match="1024 MB are more than any"):
        read_picture(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


def test_an_icon_is_refused_before_it_is_decoded(monkeypatch):
    from PIL import PngImagePlugin

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: pytest.fail("decoded"))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10**9)
    with pytest.raises(ImageError, match="20000x20000"):
        check_picture(io.BytesIO(BOMBS["icon.ico"][0]))
    with pytest.raises(ImageError, match="20000x20000"):
        read_picture(io.BytesIO(BOMBS["icon.ico"][0]))


def test_ordinary_progressive_pictures_are_read_whatever_stands_behind_them():
    data = scan_bomb(256, 1)
    for tail in (b"", b"\xff\xda" * 1000, data * 20):  # an appended video, the further pictures of a stereo photo
        assert read_picture(io.BytesIO(data + tail)).size == (256, 256)
    last = data.rindex(b"\xff\xda")
    hidden = (
        data[:last] + b"\xff\xfe\0\4\xff\xd9" + data[last:-2] * 1000 + data[-2:]
    )  # a comment that looks like an end
    with pytest.raises(ImageError, match="scans"):
        read_picture(io.BytesIO(hidden))


def test_a_hostile_picture_does_not_flood_the_terminal(tmp_path):
    exif = b"II*\0\x08\0\0\0" + struct.pack("<H", 5000)
    exif += b"".join(struct.pack("<HHII", 0x9000 + index, 7, 50_000, 8) for index in range(5000)) + bytes(4)
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.jpg", exif=b"Exif\0\0" + exif)
    code = f"from sdic.utils.images import read_picture; print(read_picture({str(tmp_path / 'a.jpg')!r}).size)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(16, 16)\n"
    assert done.stderr == ""  # the imaging library warns of each of the thousands


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 11, 15])
def test_files_of_a_few_bytes(length, tmp_path):
    draw = np.random.default_rng(length)
    heads = [data[:length] for data in PICTURES.values()]
    heads += [bytes(draw.integers(0, 256, length, dtype=np.uint8)) for _ in range(300)]
    for head in dict.fromkeys(heads):
        with pytest.raises(ImageError):
            read_picture(io.BytesIO(head))
        what_is("notes.txt", io.BytesIO(head))
