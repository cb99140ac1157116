"""A full or read-only disk ends a run with one line, and after room is made the same command goes on exactly."""

import errno
import os
import re
from pathlib import Path

import pytest
import torch
from training_processes import DEBUG, run_processes, small_trainer

from sdic.cli import main
from sdic.errors import SdicError
from sdic.training.distributed import World
from sdic.training.results import Results

WORDS = ("run.images=10", "run.save_every=4", "run.log_every=2", "validation.every=6", "validation.limit=1")
WORDS = (*WORDS, "validation.metrics=[l2]", "run.pictures=1", "run.pictures_every=6")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run on a disk with room."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert small_trainer(*WORDS, f"run.dir={folder}").run() == 0
    return folder


def results(folder):
    files = [folder / "metrics.jsonl", *(folder / "checkpoints").glob("*.safetensors"), *folder.glob("pictures/*")]
    return {path.name: path.read_bytes() for path in files}


def failing(monkeypatch, number, error):
    """From the given write on, no file can be finished."""
    calls, real = iter(range(1000)), os.fsync

    def fsync(descriptor):
        if next(calls) >= number:
            raise OSError(error, os.strerror(error))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.mark.parametrize("number", range(10))
def test_whatever_file_cannot_be_written_the_run_goes_on_exactly(whole, tmp_path, trainer, monkeypatch, number):
    # config, weights and state of 4 images, best and picture of 6, weights and state of 8, picture, and those of 10
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        failing(patch, number, errno.ENOSPC)
        with pytest.raises(SdicError, match=r"No space left on device.*the same command (goes on|begins)") as caught:
            trainer(*WORDS, f"run.dir={folder}").run()
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    states = sorted(path.name for path in (folder / "checkpoints").glob("state-*"))
    assert (f"{states[-1]} is kept" if states else "No state has been saved yet") in message
    assert not [path for path in folder.rglob("*") if path.name.startswith(".sdic-tmp")]
    assert trainer(*WORDS, f"run.dir={folder}").run() == 0
    assert results(folder) == results(whole)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("name", ["log.txt", "metrics.jsonl"])
def test_records_that_cannot_be_written_end_the_run(whole, tmp_path, trainer, name, capfd):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to("/dev/full")
    with pytest.raises(SdicError, match="No space left on device"):
        trainer(*WORDS, f"run.dir={folder}").run()
    assert "Traceback" not in capfd.readouterr().err
    (folder / name).unlink()
    assert trainer(*WORDS, f"run.dir={folder}").run() == 0
    assert results(folder) == results(whole)


def test_events_that_cannot_be_written_end_the_run_without_a_traceback(tmp_path, trainer, capfd, monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def write(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", write)
    with pytest.raises(SdicError, match="No space left on device"):
        trainer(*WORDS, f"run.dir={tmp_path / 'run'}", "run.tensorboard=true").run()
    assert "Traceback" not in capfd.readouterr().err


def test_a_folder_that_cannot_be_made_is_one_line_of_the_command(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    words = [f"run.dir={tmp_path / 'file' / 'run'}", "run.images=2", "device=cpu"]
    assert main(["train", "sdic", "--config", str(DEBUG), *words]) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line]
    assert len(said) == 1
    assert re.match(r"error: .*/file/run: Not a directory\. .*No state has been saved yet; .*begins again", said[0])


@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_ends_with_the_first_ones_line(tmp_path, trainer, rank):
    class Two(World):
        def gather(self, item):
            return [item or "PLACE: No space left on device", item]

    run = trainer(f"run.dir={tmp_path / 'run'}", world=Two(rank, 2, torch.device("cpu")))
    results = Results(run.task, run.folder, None)

    def write():
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SdicError, match="No space left on device"):
        results.leading(write)


def test_two_processes_end_and_go_on(tmp_path):
    from training_processes import SMALL

    folder = tmp_path / "run"
    words = [*SMALL, *WORDS, f"run.dir={folder}", "optim.batch=2"]
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "weights-00000004.safetensors").mkdir()  # in the way
    assert run_processes(DEBUG, words, 2) == [1, 1]
    (folder / "checkpoints" / "weights-00000004.safetensors").rmdir()
    assert run_processes(DEBUG, words, 2) == [0, 0]


def test_a_cache_that_does_not_fit_ends_the_run_and_goes_on_when_there_is_room(tmp_path, trainer, monkeypatch):
    words = (*WORDS, f"run.dir={tmp_path / 'run'}", "data.cache=first_pass")
    with monkeypatch.context() as patch:
        failing(patch, 0, errno.ENOSPC)
        with pytest.raises(SdicError, match=r"cache.*: No space left on device\. .*begins again"):
            trainer(*words).run()
    assert trainer(*words).run() == 0
