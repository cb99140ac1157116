"""Transfers over a server of our own on 127.0.0.1 that breaks off, changes its mind, and sends pages."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sdic import zoo
from sdic.download import fetch, fetchable
from sdic.download import http as transfers
from sdic.download.http import DownloadError, download
from sdic.zoo import WeightFile

CONTENT = bytes(range(256)) * 4000  # 1 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """content: what it has. breaks: it ends each answer after so many bytes. ranges: whether it can go on."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag, self.breaks, self.ranges, self.length = CONTENT, '"1"', 0, True, True
        self.status, self.location = 0, ""
        self.asked: list[str | None] = []

    def address(self, name: str = "weights.pt") -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.status:
            self.send_response(server.status)
            self.send_header("Location", server.location)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if not server.ranges or self.headers.get("If-Range") != server.etag:
            start = 0
        body = server.content[start:]
        if start and not body:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(server.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", server.etag)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        if server.length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.breaks or None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield one
        one.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDIC_PRETRAINED", str(tmp_path))
    monkeypatch.setattr(transfers, "PAUSE", 0.0)
    return tmp_path


def wanted(server: Server, sha256: str | None = SHA256) -> WeightFile:
    return WeightFile("weights.pt", server.address(), "MIT", sha256)


def test_a_file_comes_whole_and_alone(server: Server, folder: Path) -> None:
    told: list[tuple[int, int]] = []
    path = fetch(wanted(server), progress=lambda done, total: told.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert sorted(entry.name for entry in folder.iterdir()) == ["weights.pt", "weights.pt.sha256"]
    assert zoo.known_sha256(WeightFile("weights.pt", "", ""), path) == SHA256
    assert told[-1] == (len(CONTENT), len(CONTENT))


def test_a_transfer_that_breaks_off_is_taken_up_again(server: Server, folder: Path) -> None:
    server.breaks = 300_000
    assert fetch(wanted(server)).read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_what_came_is_kept_for_the_next_call(server: Server, folder: Path) -> None:
    server.breaks, server.status = 300_000, 0
    part = folder / "weights.pt.part"
    with pytest.raises(RuntimeError):
        _killed(server, part)
    assert 0 < part.stat().st_size < len(CONTENT)
    server.breaks = 0
    server.asked.clear()
    assert fetch(wanted(server)).read_bytes() == CONTENT
    assert server.asked == [f"bytes={300_000}-"]


def _killed(server: Server, part: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise RuntimeError

    try:
        download(server.address(), part, stop)
    finally:
        part.write_bytes(CONTENT[:300_000])


def test_another_version_is_begun_anew(server: Server, folder: Path) -> None:
    (folder / "weights.pt.part").write_bytes(b"old" * 1000)
    (folder / "weights.pt.part.json").write_text(f'{{"url": "{server.address()}", "version": "\\"0\\""}}')
    assert fetch(wanted(server)).read_bytes() == CONTENT
    assert server.asked == ["bytes=3000-"]


@pytest.mark.parametrize("note", ["", "[]", "{", '{"url": 3}', '{"url": "http://127.0.0.1/x", "version": "a"}'])
def test_a_half_file_of_unknown_origin_is_begun_anew(note: str, server: Server, folder: Path) -> None:
    (folder / "weights.pt.part").write_bytes(b"old" * 1000)
    (folder / "weights.pt.part.json").write_text(note)
    assert fetch(wanted(server)).read_bytes() == CONTENT
    assert server.asked == [None]


def test_a_whole_part_is_not_fetched_again(server: Server, folder: Path) -> None:
    (folder / "weights.pt.part").write_bytes(CONTENT)
    (folder / "weights.pt.part.json").write_text(f'{{"url": "{server.address()}", "version": "\\"1\\""}}')
    assert fetch(wanted(server)).read_bytes() == CONTENT
    assert server.asked == [f"bytes={len(CONTENT)}-"]


def test_a_server_without_ranges_or_lengths(server: Server, folder: Path) -> None:
    server.ranges, server.length = False, False
    assert fetch(wanted(server)).read_bytes() == CONTENT
    server.breaks = 1000
    with pytest.raises(DownloadError, match="expected"):  # nothing but the hash can tell
        fetch(wanted(server))


def test_a_server_that_gives_up_is_left(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.ranges, server.breaks = False, 1000
    with pytest.raises(DownloadError, match=r"ended early; 1,000 bytes are kept.*By hand: get weights.pt"):
        fetch(wanted(server))
    assert len(server.asked) <= 2 * transfers.TRIES
    assert not (folder / "weights.pt").exists()


def test_pages_in_place_of_files(server: Server, folder: Path) -> None:
    """As Drive's quota page: status 200, and no known hash."""
    server.content = b"\n<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title>"
    with pytest.raises(DownloadError, match=r"a web page came instead.*too many people.*By hand"):
        fetch(wanted(server, None))
    assert list(folder.glob("*.pt")) == []
    server.content = CONTENT
    assert fetch(wanted(server, None)).read_bytes() == CONTENT


def test_false_hashes_halves_of_zips_and_nothing(server: Server, folder: Path) -> None:
    with pytest.raises(DownloadError, match=f"sha256 is {SHA256}, expected {'0' * 64}"):
        fetch(wanted(server, "0" * 64))
    server.content, server.etag = b"PK\x03\x04" + bytes(5000), '"2"'
    with pytest.raises(DownloadError, match="its end is missing"):
        fetch(wanted(server, None))
    server.content, server.etag = b"", '"3"'
    with pytest.raises(DownloadError, match="empty"):
        fetch(wanted(server, None))
    assert [path.name for path in folder.iterdir() if path.suffix == ".pt"] == []


def test_answers_that_are_no_file(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.status = 404
    with pytest.raises(DownloadError, match="the server says 404"):
        fetch(wanted(server))
    assert len(server.asked) == 1
    server.status = 503
    with pytest.raises(DownloadError, match=r"the server says 503.*nothing came"):
        fetch(wanted(server))
    server.status, server.location = 302, "http://example.invalid/weights.pt"
    with pytest.raises(DownloadError, match="only https is fetched"):
        fetch(wanted(server))
    server.location = "file:///etc/hosts"
    with pytest.raises(DownloadError, match="is not allowed"):
        fetch(wanted(server))


def test_without_network(folder: Path) -> None:
    with pytest.raises(
        DownloadError, match=r"nothing came. By hand: get weights.pt from https://127.0.0.1:1/weights.pt"
    ):
        fetch(WeightFile("weights.pt", "https://127.0.0.1:1/weights.pt", "MIT"))


def test_a_full_or_closed_disk_is_said(server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "weights.pt.part").mkdir()
    with pytest.raises(DownloadError, match=r"weights\.pt\.part"):
        fetch(wanted(server))


def test_what_can_be_fetched() -> None:
    """All but two files, and those that are this project's own."""
    files = [file for card in zoo.MODELS.values() for file in card.files]
    own = [file for file in files if file.made_by]
    assert {file.name for file in files if not file.made_by and not fetchable(file)} == {
        "e4e_ffhq_encode.pt",
        "CurricularFace_Backbone.pth",
    }
    assert {"portraits/generator.safetensors", "portraits/sdic.safetensors"} <= {file.name for file in own}
    assert not [file.name for file in own if fetchable(file)]
