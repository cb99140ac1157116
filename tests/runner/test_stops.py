"""Runs that are stopped: killed, interrupted, out of disk. Nothing half-written is left, and the next run goes on."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from runner_helpers import content, statuses, write_photo

from sdic.cli import main
from sdic.utils.files import TEMPORARY_PREFIX

KILLED = """
import os, signal, sys
import sdic.utils.files as files
from sdic.cli import main

real, count = os.replace, 0
def replace(source, target):
    global count
    count += "inversion" in str(target)
    if count == 4:  # with the temporary file written, before it takes its name
        os.kill(os.getpid(), signal.SIGKILL)
    real(source, target)
files.os.replace = replace
sys.exit(main(sys.argv[1:]))
"""


def temporaries(folder: Path) -> list[Path]:
    return list(folder.rglob(TEMPORARY_PREFIX + "*"))


def test_a_killed_run_is_finished_by_the_next(tmp_path, model, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    for seed in range(8):
        write_photo(photos / f"{seed}.png", seed)
    words = ["invert", str(photos), "--out", str(out), "--model", "tiny", "--batch-size", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, "-c", KILLED, *words], env=environment, check=False, capture_output=True)
    assert result.returncode == -signal.SIGKILL, result.stderr.decode()
    made = sorted((out / "inversion").glob("*.png"))
    assert 0 < len(made) < 8
    assert temporaries(out)
    for path in made:  # what has its name is whole
        with Image.open(path) as picture:
            picture.load()
    assert not (out / "report.json").exists()
    assert main(words) == 0
    assert temporaries(out) == []
    assert len(list((out / "inversion").glob("*.png"))) == 8
    assert 0 < model.photos < 8
    assert f"{model.photos} new, {8 - model.photos} already done" in capsys.readouterr().out
    fresh = tmp_path / "fresh"
    assert main([word if word != str(out) else str(fresh) for word in words]) == 0
    assert content(out) == content(fresh)


def test_unfinished_files_of_a_run_that_is_still_at_work_are_left_alone(run, tmp_path, model):
    pytest.importorskip("fcntl")
    out = tmp_path / "out"
    hold = "from sdic.runner.records import at_work\nimport pathlib, sys, time\n"
    hold += "with at_work(pathlib.Path(sys.argv[1])):\n    print('in', flush=True)\n    time.sleep(60)\n"
    other = subprocess.Popen([sys.executable, "-c", hold, str(out)], stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == b"in\n"
        (out / (TEMPORARY_PREFIX + "theirs")).touch()
        assert run("invert")[0] == 0
        assert len(temporaries(out)) == 1
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    assert run("invert")[0] == 0
    assert temporaries(out) == []


def test_a_full_disk_stops_the_run_and_keeps_what_is_done(run, tmp_path, model, monkeypatch, capsys):
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc to tell which file is written")
    real = os.fsync

    def full(descriptor):
        if "/inversion/more/" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    code, _ = run("invert", "--batch-size", "1")
    assert code == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert "stopped: 1 of 3" in error
    assert "Traceback" not in error
    assert temporaries(tmp_path / "out") == []
    monkeypatch.setattr(os, "fsync", real)
    code, report = run("invert")
    assert code == 0
    assert sorted(statuses(report).values()) == ["done", "done", "skipped"]


@pytest.mark.parametrize("error", [errno.EROFS, errno.EACCES])
def test_a_read_only_output_folder_is_one_clear_line(run, model, monkeypatch, capsys, tmp_path, error):
    monkeypatch.setattr("tempfile.mkstemp", _raise(OSError(error, os.strerror(error))))
    code, _ = run("invert")
    assert code == 2
    said = capsys.readouterr().err
    assert os.strerror(error) in said
    assert "Traceback" not in said
    assert not list((tmp_path / "out").rglob("*.png"))


def test_an_output_folder_that_is_a_file(run, model, tmp_path, capsys):
    (tmp_path / "out").write_text("in the way")
    assert run("invert", report="none")[0] == 2
    assert "cannot write" in capsys.readouterr().err


def test_ctrl_c_says_what_is_kept_and_leaves_a_report(run, model, tiny, monkeypatch, capsys):
    real, count = tiny.invert, [0]

    def interrupted(photos):
        count[0] += 1
        if count[0] == 2:
            time.sleep(0.2)  # the writers finish the first photo
            raise KeyboardInterrupt
        return real(photos)

    monkeypatch.setattr(tiny, "invert", interrupted)
    code, report = run("invert", "--batch-size", "1")
    assert code == 130
    error = capsys.readouterr().err
    assert "stopped: 1 of 3 photos are finished and kept" in error
    assert "Traceback" not in error
    assert sorted(statuses(report).values()) == ["done", "not finished", "not finished"]
    monkeypatch.setattr(tiny, "invert", real)
    assert run("invert")[1]["totals"]["skipped"] == 1


def _raise(error: Exception):
    def function(*arguments, **options):
        raise error

    return function
