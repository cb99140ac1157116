"""Damaged states are noticed and named, and the older one goes on to the very same end."""

import json
import pickle
import shutil
import zipfile

import pytest
import torch
from training_processes import small_trainer

from sdic.errors import CheckpointError
from sdic.training.runlog import RunLog
from sdic.training.state_files import images_of, list_states, resume, write_state

IMAGES = 14  # saved at 6, 12 and 14
KINDS = [{}, {"piece": 700}]
"""One file, and one in pieces, as `run.piece_mib` asks."""


class Hostile:
    def __reduce__(self):
        return (print, ("executed",))


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def flipped(path, share):
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 0x10
    path.write_bytes(content)


def hostile(path):
    torch.save(Hostile(), path)


def hostile_pickle(path):
    path.write_bytes(pickle.dumps(Hostile()))


def another_thing(path):
    torch.save([1, 2, 3], path)


def without_progress(path):
    state = torch.load(path, weights_only=True)
    del state["progress"]
    torch.save(state, path)


def near_its_end(path):
    flipped(path, 0.995)


def in_its_middle(path):
    flipped(path, 0.5)


DAMAGES = [truncated, emptied, near_its_end, in_its_middle, hostile, hostile_pickle, another_thing, without_progress]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert small_trainer(f"run.dir={folder}", f"run.images={IMAGES}", "optim.ema_images=13").run() == 0
    return folder


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_run_goes_on_from_the_older_state_to_the_same_end(whole, tmp_path, trainer, capsys, damage):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    damage(folder / "checkpoints" / "state-00000014.pt")
    words = (f"run.dir={folder}", f"run.images={IMAGES}", "optim.ema_images=13")
    assert trainer(*words).run() == 0
    said = (folder / "log.txt").read_text()
    assert said.count("state-00000014.pt is damaged and left out") == 1
    assert said.count(f"resuming {folder} at 12 of 14 images") == 1
    assert "executed" not in capsys.readouterr().out
    assert (folder / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    weights = "checkpoints/weights-00000014.safetensors"
    assert (folder / weights).read_bytes() == (whole / weights).read_bytes()
    assert trainer(*words).run() == 0  # and the state that was written in its place is whole
    assert (folder / "log.txt").read_text().count("is damaged") == 1


def test_a_run_without_a_whole_state_is_refused_and_nothing_is_overwritten(whole, tmp_path, trainer):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    for path in list_states(folder / "checkpoints"):
        truncated(path)
    before = {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()}
    with pytest.raises(CheckpointError, match=r"none of the 3 states.*state-00000014\.pt.*run\.dir"):
        trainer(f"run.dir={folder}", f"run.images={IMAGES}").run()
    assert {path.name: path.read_bytes() for path in (folder / "checkpoints").iterdir()} == before


def test_a_damaged_state_does_not_push_out_the_whole_ones(whole, tmp_path, trainer):
    folder = tmp_path / "run"
    shutil.copytree(whole, folder)
    emptied(folder / "checkpoints" / "state-00000014.pt")
    words = ("run.images=40", "optim.ema_images=13", "run.keep_last=1", "run.save_every=0")
    begun = trainer(f"run.dir={folder}", *words)
    begun._after_step = lambda: setattr(begun.stop, "signal", 15)  # SIGTERM after one step, the 7th
    assert begun.run() == 0
    assert [images_of(path) for path in list_states(folder / "checkpoints")] == [14]
    assert resume(folder / "checkpoints", lambda path, state: state["progress"]["images"], print) == 14


def test_a_state_of_another_task_or_an_earlier_version_is_refused(tmp_path, trainer):
    for state, words in {
        "of generator": {"version": 2, "task": "generator"},
        "of an earlier sdic, which counted steps": {"version": 1, "progress": {"step": 3}},
    }.items():
        write_state(tmp_path / "run" / "checkpoints", 6, words, 1)
        with pytest.raises(CheckpointError, match=rf"{state}; this is a run of sdic; use another run\.dir"):
            trainer(f"run.dir={tmp_path / 'run'}").run()


def contents(seed, count=3):
    draw = torch.Generator().manual_seed(seed)
    return {"weight": torch.randn(40, generator=draw), "step": seed, "names": ["a"] * count}


def equal(state, other):
    return (
        state.keys() == other.keys()
        and torch.equal(state["weight"], other["weight"])
        and state["names"] == other["names"]
    )


@pytest.mark.parametrize("kind", KINDS, ids=["one file", "pieces"])
def test_any_flipped_byte_is_noticed_or_changes_nothing(tmp_path, kind):
    """Every byte of the newest state's files in turn: what is read is one of the two states that were written."""
    write_state(tmp_path, 1, contents(1), 2, **kind)
    write_state(tmp_path, 2, contents(2), 2, **kind)
    noticed = total = 0
    for path in sorted(tmp_path.glob("state-00000002.*")):
        content = path.read_bytes()
        for place in range(0, len(content), 3):
            path.write_bytes(content[:place] + bytes([content[place] ^ (1 << place % 8)]) + content[place + 1 :])
            said = []
            found = resume(tmp_path, lambda path, state: state, said.append)
            assert equal(found, contents(1) if said else contents(2)), (path.name, place)
            assert all("state-00000002" in line and "\n" not in line for line in said)
            noticed, total = noticed + bool(said), total + 1
        path.write_bytes(content)
    assert noticed > 0.3 * total  # the rest is the padding of the zip


@pytest.mark.parametrize("kind", KINDS, ids=["one file", "pieces"])
def test_at_every_moment_a_whole_state_is_there(tmp_path, kind, monkeypatch):
    write_state(tmp_path, 1, contents(1), 1, **kind)
    for allowed in range(10):
        calls = iter(range(100))

        def fsync(number, allowed=allowed, calls=calls):
            if next(calls) >= allowed:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", fsync)
        try:
            write_state(tmp_path, 2, contents(2), 1, **kind)
        except OSError:
            assert resume(tmp_path, lambda path, state: state["step"], pytest.fail) == 1
            assert not list(tmp_path.glob("state-00000002*"))  # nothing takes room
        else:
            break
    assert allowed == (1 if not kind else len(list(tmp_path.glob("state-00000002.*"))))
    assert resume(tmp_path, lambda path, state: state["step"], pytest.fail) == 2
    assert [images_of(path) for path in list_states(tmp_path)] == [2]


def test_states_of_torch_have_checksums(tmp_path):
    write_state(tmp_path, 1, contents(1), 1)
    with zipfile.ZipFile(tmp_path / "state-00000001.pt") as archive:
        assert len({entry.CRC for entry in archive.infolist()}) > 2


def test_damaged_lines_of_metrics_are_left_out_and_counted(tmp_path):
    lines = [json.dumps({"images": step, "kind": "train", "loss": step / 7}) for step in range(1, 6)]
    damaged = [lines[0].encode(), lines[1].replace("train", "tr\udcffin").encode("utf-8", "surrogateescape")]
    damaged += [b"\x00\xff\xfe", b"[1]", b'{"images": 2}', lines[2].encode(), lines[4].encode(), b'{"images": 3, "ki']
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join(damaged))
    log = RunLog(tmp_path, True, False)
    try:
        log.start(4, 10)
        log.record(5, 10, "train", {"loss": 5 / 7})
    finally:
        log.close()
    assert (tmp_path / "metrics.jsonl").read_text().splitlines() == [lines[0], lines[2], lines[4]]
    assert "4 lines cannot be read" in (tmp_path / "log.txt").read_text()
