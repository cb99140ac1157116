"""One file over https: resumed where it was interrupted, and looked at before it is believed."""

from __future__ import annotations

import errno
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from sdic.errors import SdicError
from sdic.utils.text import one_line

TRIES = 5  # in a row without a byte in between
PAUSE = 1.0  # seconds after the first of them, growing
TIMEOUT = 30.0  # seconds without a byte
CHUNK = 1 << 20
LARGEST = 16 << 30  # bytes; the largest weight file of the field has 1.5 GB
LOCAL = ("127.0.0.1", "localhost", "::1")
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_PAGE = (b"<!doctype html", b"<html", b"<head", b"<?xml")
Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all or 0)."""


class DownloadError(SdicError):
    """A file could not be fetched, or is not what it should be."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        _check_address(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(url: str, part: Path, progress: Progress | None = None) -> None:
    """Fetch `url` into the file `part`, going on behind what is there of the same version of the file.

    Beside it, PART.json keeps which version that is. An interrupted transfer is taken up again at once as long as
    bytes come; then DownloadError says how much is there, and the next call goes on.
    """
    _check_address(url)
    failures, problem = 0, ""
    while failures < TRIES:
        before = _size(part)
        try:
            if _transfer(url, part, progress):
                return
            problem = "the connection ended early"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise DownloadError(f"{url}: the server says {error.code} {one_line(error.reason)}") from error
            problem = f"the server says {error.code} {one_line(error.reason)}"
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, OSError) and (error.filename is not None or error.errno in _DISK):
                raise  # not the connection's fault
            problem = one_line(getattr(error, "reason", None) or error) or type(error).__name__
        failures = 0 if _size(part) > before else failures + 1
        if 0 < failures < TRIES:
            time.sleep(PAUSE * failures)
    kept = f"{_size(part):,} bytes are kept, and the same command goes on from there" if _size(part) else "nothing came"
    raise DownloadError(f"{url}: {problem}; {kept}")


def check_file(path: Path, what: str, sha256: str | None, digest: str) -> None:
    """DownloadError for a web page in a file's place, and for another hash than the known one."""
    with open(path, "rb") as handle:
        head = handle.read(512).lstrip().lower()
    if not head:
        raise DownloadError(f"{what}: the file is empty")
    if head.startswith(_PAGE):
        raise DownloadError(
            f"{what}: a web page came instead of the file. Google Drive answers so when too many people have fetched a "
            "file in the last day (try again tomorrow), others when one must log in"
        )
    if sha256 is not None and digest != sha256:
        raise DownloadError(f"{what}: sha256 is {digest}, expected {sha256}: damaged, or another file")
    if head.startswith(b"pk\3\4") and not zipfile.is_zipfile(path):  # a zip's list of contents is at its end
        raise DownloadError(f"{what}: its end is missing")


def _transfer(url: str, part: Path, progress: Progress | None) -> bool:
    """Ask for what is missing and append it; whether the file is whole now."""
    have, known = _size(part), _state(part)
    request = urllib.request.Request(url, headers={"User-Agent": "sdic-download", "Accept-Encoding": "identity"})
    if have and known.get("url") == url and known.get("version"):
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", known["version"])
    elif have:
        _forget(part)
        have = 0
    try:
        answer = urllib.request.build_opener(_Redirects).open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing behind what is there
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return True
            _forget(part)
            return False
        raise
    with answer:
        start, total = _extent(answer, have)
        if total > LARGEST:
            raise DownloadError(f"{url}: {total:,} bytes are more than any weight file has")
        if start == 0:
            version = answer.headers.get("ETag", "")
            version = "" if version.startswith("W/") else version or answer.headers.get("Last-Modified", "")
            _remember(part, url, version)
        with open(part, "r+b" if start else "wb") as handle:
            handle.seek(start)
            done = _copy(answer, handle, start, total, progress)
            handle.truncate()
    return done == total if total else True


def _copy(answer: IO[bytes], handle: IO[bytes], start: int, total: int, progress: Progress | None) -> int:
    done = start
    while True:
        try:
            chunk = answer.read(CHUNK)
        except http.client.IncompleteRead as error:  # what came before the end counts
            handle.write(error.partial)
            return done + len(error.partial)
        if not chunk:
            return done
        done += len(chunk)
        if done > (total or LARGEST):
            raise DownloadError(f"more than the {total or LARGEST:,} bytes that were announced came")
        handle.write(chunk)
        if progress is not None:
            progress(done, total)


def _extent(answer: Any, have: int) -> tuple[int, int]:
    """(first byte that comes, size of the whole file or 0)."""
    length = answer.headers.get("Content-Length", "")
    if answer.status == 206:
        unit, _, extent = answer.headers.get("Content-Range", "").partition(" ")
        place, _, total = extent.partition("/")
        start = place.partition("-")[0]
        if unit != "bytes" or not start.isdigit() or int(start) != have or not total.isdigit():
            raise ValueError("the server sends another part than the one asked for")
        return have, int(total)
    return 0, int(length) if length.isdigit() else 0


def _check_address(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOCAL):
        raise DownloadError(f"{one_line(url)}: only https is fetched")


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _remember(part: Path, url: str, version: str) -> None:
    _note(part).write_text(json.dumps({"url": url, "version": version}))


def _state(part: Path) -> dict[str, str]:
    try:
        state = json.loads(_note(part).read_text())
        good = isinstance(state, dict) and all(
            isinstance(value, str) and value.isprintable() for value in state.values()
        )
        return state if good else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note(part).unlink(missing_ok=True)
