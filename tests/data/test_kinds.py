"""One rule says what a file is; folders and zips, training and the folder runner follow it alike."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdic.data.folder import ZipSource, read_name_list
from sdic.data.sources import Request, open_source
from sdic.errors import ConfigError, ImageError, SdicError
from sdic.runner.inputs import collect
from sdic.utils.files import sha256_of
from sdic.utils.images import what_is
from sdic.utils.kinds import Kind

PHOTO = Kind(picture=True)
OTHER = Kind()


def png(seed: int = 0) -> bytes:
    blob = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(blob, "PNG")
    return blob.getvalue()


def bmp() -> bytes:
    blob = io.BytesIO()
    Image.new("RGB", (4, 4)).save(blob, "BMP")
    return blob.getvalue()


MP4 = b"\0\0\0\x18ftypisom" + bytes(40)
HEIC = b"\0\0\0\x18ftypheic" + bytes(40)
CASES = {
    "a.png": (png(), PHOTO),
    "b": (png(), PHOTO),
    "c.dat": (png(), PHOTO),
    "d.jpg": (b"no picture at all", PHOTO),
    "e": (bmp(), PHOTO),
    "f.jxl": (b"\xff\x0a" + bytes(30), "JPEG XL"),
    "g": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30), "JPEG XL"),
    "h.psd": (b"8BPS\0\1" + bytes(30), "Photoshop"),
    "i.NEF": (b"II*\0\x08\0\0\0" + bytes(30), "RAW (NEF)"),
    "j": (b"II*\0\x10\0\0\0CR\2\0" + bytes(30), "RAW (CR2)"),
    "k.mp4": (b"", "MP4: a video"),
    "l.bin": (MP4, "MP4: a video"),
    "m.heic": (HEIC, "HEIC"),
    "n": (HEIC, "HEIC"),
    "o.heic": (png(), PHOTO),
    "p.mov": (b"\0\0\0\x14ftypqt  " + bytes(30), "MOV: a video"),
    "q.webm": (b"\x1a\x45\xdf\xa3" + bytes(30), "WEBM: a video"),
    "r.svg": (b"<svg>", "SVG"),
    "notes.txt": (b"BMW and P1, two cars", OTHER),
    "list.txt": (b"P1 is a person", OTHER),
    "two.txt": (b"P2", OTHER),
    "one.txt": (b"B", OTHER),
    "empty.txt": (b"", OTHER),
    "landmarks.bin": (struct.pack("<4I", 40, 1, 2, 3), OTHER),
    "LICENSE": (b"Permission is hereby granted", OTHER),
    "labels.json": (b"{}", OTHER),
    "font.ttf": (b"\0\1\0\0" + bytes(40), OTHER),
    "sound.m4a": (b"\0\0\0\x18ftypM4A " + bytes(30), OTHER),
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "all").mkdir()
    for name, (data, _) in CASES.items():
        (tmp_path / "all" / name).write_bytes(data)
    return tmp_path / "all"


def packed(folder: Path, path: Path, how: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", how) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, file.name)
    return path


@pytest.mark.parametrize("name", CASES)
def test_what_a_file_is(folder, name):
    kind = what_is(folder / name)
    expected = CASES[name][1]
    if isinstance(expected, Kind):
        assert kind == expected
    else:
        assert expected in kind.unread
        assert not kind.picture


def test_special_files_are_judged_by_their_names(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "zero")
    os.symlink("nowhere", tmp_path / "gone.png")
    os.symlink("nowhere", tmp_path / "gone.mp4")
    assert what_is(tmp_path / "pipe") == what_is(tmp_path / "zero") == what_is(tmp_path) == OTHER
    assert what_is(tmp_path / "gone.png") == PHOTO
    assert "video" in what_is(tmp_path / "gone.mp4").unread


@pytest.mark.parametrize("as_zip", [False, True])
def test_training_and_the_runner_find_the_same(folder, tmp_path, as_zip):
    place = packed(folder, tmp_path / "all.zip") if as_zip else folder
    _, names, broken = open_source(Request("auto", str(place)))
    assert names == ["a.png", "b", "c.dat", "e", "o.heic"]
    assert set(broken) == {name for name, (_, kind) in CASES.items() if isinstance(kind, str)} | {"d.jpg"}
    assert "JPEG XL" in broken["f.jxl"]
    items = collect([str(place)], tmp_path / "out", inversions=False)
    assert {item.name for item in items if item.problem is None} == {*names, "d.jpg"}
    assert {item.name for item in items if item.problem and not item.ignored} == set(broken) - {"d.jpg"}
    assert {item.name for item in items if item.ignored} == {n for n, (_, kind) in CASES.items() if kind == OTHER}


def test_hidden_files_and_links_count_alike(folder, tmp_path):
    (folder / ".thumb.png").write_bytes(png())
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "z.png").write_bytes(png())
    os.symlink(tmp_path / "more", folder / "linked")
    os.symlink(folder, folder / "circle")
    _, names, _ = open_source(Request("auto", str(folder)))
    assert names == ["a.png", "b", "c.dat", "e", "linked/z.png", "o.heic"]
    assert {i.name for i in collect([str(folder)], tmp_path / "out", inversions=False) if not i.problem} == {
        *names,
        "d.jpg",
    }


def test_a_video_beside_a_photo_of_the_same_name(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").write_bytes(png())
    (tmp_path / "photos" / "1.mov").write_bytes(b"")
    (tmp_path / "list.txt").write_text("1\n")
    assert open_source(Request("auto", str(tmp_path / "photos"), str(tmp_path / "list.txt")))[1:] == (["1.png"], {})
    items = collect([str(tmp_path / "photos")], tmp_path / "out", inversions=False)
    assert [(item.name, item.stem) for item in items if item.problem is None] == [("1.png", "1")]
    (tmp_path / "list.txt").write_text("1\n1.mov\n")
    _, names, broken = open_source(Request("auto", str(tmp_path / "photos"), str(tmp_path / "list.txt")))
    assert (names, list(broken)) == (["1.png"], ["1.mov"])


def test_a_folder_of_nothing_but_videos_says_so(tmp_path):
    (tmp_path / "a.mp4").write_bytes(MP4)
    with pytest.raises(ConfigError, match=r"no pictures.*1 others, such as a.mp4 \(MP4: a video"):
        open_source(Request("auto", str(tmp_path)))


def edited(path: Path, name: str, **fields: int) -> Path:
    """A zip whose directory says something false of an entry: offsets of the central header's fields."""
    places = {"flags": (8, "<H"), "method": (10, "<H"), "packed": (20, "<I"), "size": (24, "<I"), "offset": (42, "<I")}
    data = bytearray(path.read_bytes())
    start = data.rindex(b"PK\1\2", 0, data.rindex(name.encode()))
    for field, value in fields.items():
        struct.pack_into(places[field][1], data, start + places[field][0], value)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"flags": 1}, "encrypted"),
        ({"size": 0xF0000000}, "damaged"),
        ({"packed": 0xF0000000, "size": 0xF0000000}, "damaged"),
        ({"offset": 0x0F000000}, "damaged"),
        ({"method": 14}, "compressed by method 14|are compressed"),
        ({"flags": 0x20}, "cannot be unpacked"),
    ],
)
def test_entries_of_a_zip_that_are_not_to_be_unpacked(tmp_path, fields, said):
    (tmp_path / "in").mkdir()
    for name in ("one.png", "two.png"):
        (tmp_path / "in" / name).write_bytes(png())
    path = edited(packed(tmp_path / "in", tmp_path / "a.zip"), "two.png", **fields)
    source = ZipSource(path, packed=True)
    assert source.check("one.png") == ""
    assert any(word in source.check("two.png") for word in said.split("|"))
    with pytest.raises(ImageError, match=said):
        source.read("two.png")
    if "method" not in fields:
        _, names, broken = open_source(Request("auto", str(path)))
        assert (names, list(broken)) == (["one.png"], ["two.png"])


def test_a_packed_bomb_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(10_000_000))
    edited(tmp_path / "a.zip", "bomb.png", size=0x7F000000)
    assert "damaged" in ZipSource(tmp_path / "a.zip", packed=True).problems["bomb.png"]


@pytest.mark.parametrize("name", ["../up.png", "/etc/up.png", "a/../../up.png", "C:/up.png", "..\\up.png"])
def test_names_that_lead_out_of_a_zip(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, png())
        archive.writestr("in.png", png())
        archive.writestr("__MACOSX/._in.png", b"not a picture")
    items = collect([str(tmp_path / "a.zip")], tmp_path / "out", inversions=False)
    problems = {item.member: item.problem for item in items}
    assert problems == {name: "its name leads out of the folder", "in.png": None}


def test_what_is_no_zip(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\5\6" + bytes(30))
    with pytest.raises(ConfigError, match=r"a.zip: (not a readable zip|.*no pictures)"):
        open_source(Request("auto", str(tmp_path / "a.zip")))


def test_lists_of_names(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\x0cpages\n\n# three\n")
    assert read_name_list(path) == ["one", "two\x0cpages"]
    for content, said in (
        (b"\xff\xfeo\0n\0e\0", "UTF-8"),
        (b"\n# a\n", "names no pictures"),
        (b"", "names no pictures"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            read_name_list(path)
    with open(path, "wb") as handle:
        handle.truncate(1 << 40)  # no byte of it is on the disk
    with pytest.raises(ConfigError, match="64 MB"):
        read_name_list(path)
    path.unlink()
    os.symlink("/dev/zero", path)
    with pytest.raises(ConfigError, match="no such list"):
        read_name_list(path)


def test_only_regular_files_of_a_size_are_hashed(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a", 3).startswith("ba7816bf")
    with pytest.raises(SdicError, match="more than the 2"):
        sha256_of(tmp_path / "a", 2)
    os.symlink("/dev/zero", tmp_path / "zero")
    os.mkfifo(tmp_path / "pipe")
    for name in ("zero", "pipe"):
        with pytest.raises(SdicError, match="not a regular file"):
            sha256_of(tmp_path / name)
    if Path("/proc/self/maps").is_file():  # says 0 bytes, and gives as many as it likes
        with pytest.raises(SdicError, match="longer than"):
            sha256_of("/proc/self/maps")
