"""Videos in `sdic edit`: frame by frame, the photo's way, with the sound; by landmarks, which take no weights."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from runner_helpers import statuses, write_photo

from sdic.faces import finding
from sdic.faces.alignment import cut, ffhq_quad
from sdic.runner import video as video_module
from sdic.utils.video import Frame, VideoWriter, read_video, write_video
from tests.faces.test_alignment import face_at, photo_of
from tests.faces.test_folders import line
from tests.faces.test_pasting import inside
from tests.test_video import av, sound_packets, with_sound  # noqa: F401  (skips where PyAV is missing)

COUNT, SIZE = 6, (160, 128)
FACES = [face_at(70 + 2 * k, 64, 60, 5) for k in range(COUNT)]


def frames() -> list[Frame]:
    """A photo that moves by two pixels a frame."""
    wide = np.asarray(photo_of(SIZE[0] + 2 * COUNT, SIZE[1], 3))
    return [np.ascontiguousarray(wide[:, 2 * (COUNT - k) : 2 * (COUNT - k) + SIZE[0]]) for k in range(COUNT)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """clips/clip.mp4 with sound, and a line of landmarks for each frame."""
    (tmp_path / "clips").mkdir()
    with_sound(tmp_path / "clips" / "clip.mp4", frames(), seconds=0.2)
    (tmp_path / "points.csv").write_text("\n".join(line("clip", face) for face in FACES))
    return tmp_path / "clips" / "clip.mp4"


@pytest.fixture
def edit(run, clip: Path):
    def call(*words: str, command: str = "edit", inputs: Path | None = None):
        points = str(clip.parent.parent / "points.csv")
        return run(command, "--align", "always", "--landmarks", points, *words, inputs=inputs or clip.parent)

    return call


def test_a_video_comes_back_edited_with_its_sound(edit, model, clip, tmp_path):
    code, report = edit("--edit", "pc0=9", "--edit", "pc0=0")
    assert (code, statuses(report)) == (0, {"clip.mp4": "done"})
    out = tmp_path / "out"
    assert model.photos == COUNT
    source = read_video(clip)
    for label in ("pc0=9", "pc0=0"):
        made = read_video(out / label / "clip.mp4")
        assert (made.size, made.fps, made.count) == (SIZE, 25.0, COUNT)
        assert sound_packets(out / label / "clip.mp4") == sound_packets(clip)
        assert [time for time, _ in made.timed()] == [time for time, _ in source.timed()]
    for k, (before, kept, changed) in enumerate(
        zip(source, read_video(out / "pc0=0" / "clip.mp4"), read_video(out / "pc0=9" / "clip.mp4"), strict=True)
    ):
        where = inside(cut(Image.fromarray(before), ffhq_quad(FACES[k]), 64)[1], 0.25)
        off, moved = (np.abs(before.astype(int) - after) for after in (kept, changed))
        assert 10 * np.log10(255**2 / (off.astype(float) ** 2).mean()) > 32  # coded twice
        assert moved[where].mean() > 3 * off[where].mean() + 5
        away = ~inside(cut(Image.fromarray(before), ffhq_quad(FACES[k]), 64)[1], -0.2)
        assert moved[away].mean() < 5
    assert not [path for path in out.rglob("*") if path.name.startswith(".sdic-tmp")]


def test_a_second_run_skips_it_and_a_new_edit_is_added(edit, model, tmp_path):
    edit("--edit", "pc0=2")
    assert model.photos == COUNT
    assert statuses(edit("--edit", "pc0=2")[1]) == {"clip.mp4": "skipped"}
    assert model.photos == COUNT
    before = (tmp_path / "out" / "pc0=2" / "clip.mp4").stat().st_mtime_ns
    assert statuses(edit("--edit", "pc0=2", "--edit", "pc0=1")[1]) == {"clip.mp4": "done"}
    assert (tmp_path / "out" / "pc0=2" / "clip.mp4").stat().st_mtime_ns == before


def test_a_stopped_run_leaves_no_half_video(edit, model, tmp_path, monkeypatch):
    whole = VideoWriter.write
    written: list[int] = []

    def write(self, frame, seconds=None):
        written.append(1)
        if len(written) == 4:
            raise KeyboardInterrupt
        whole(self, frame, seconds)

    monkeypatch.setattr(VideoWriter, "write", write)
    assert edit("--edit", "pc0=2")[0] == 130
    assert not list((tmp_path / "out").rglob("*.mp4"))
    assert not list((tmp_path / "out").rglob(".sdic-tmp*"))
    monkeypatch.setattr(VideoWriter, "write", whole)
    assert edit("--edit", "pc0=2")[0] == 0
    assert read_video(tmp_path / "out" / "pc0=2" / "clip.mp4").count == COUNT


def test_frames_without_a_face_stay_as_they_are(edit, model, clip, tmp_path, monkeypatch):
    """The detector loses the face in the last frames, for good."""

    class Some:
        def __init__(self) -> None:
            self.number = -1

        def find(self, photo: Image.Image, every: bool = False):
            self.number += 1
            return [FACES[self.number]] if self.number < 3 else []

    monkeypatch.setattr(finding, "has_finder", lambda: True)
    monkeypatch.setattr(finding, "open_finder", lambda *_: Some())
    code, report = edit("--edit", "pc0=9", "--landmarks", "")
    assert code == 0
    assert model.photos == 3
    assert "no face in 3 of 6 frames" in str(report["files"])
    last, made = list(read_video(clip))[-1], list(read_video(tmp_path / "out" / "pc0=9" / "clip.mp4"))[-1]
    assert np.abs(last.astype(int) - made).mean() < 4


def test_models_of_other_things_edit_the_frames_themselves(run, model, clip, tmp_path):
    assert run("edit", "--edit", "pc0=2", inputs=clip)[0] == 0
    assert read_video(tmp_path / "out" / "pc0=2" / "clip.mp4").size == (64, 64)
    assert model.photos == COUNT


def test_bad_videos_are_listed_and_the_rest_is_finished(edit, model, clip, tmp_path):
    (clip.parent / "wreck.mp4").write_bytes(b"\0\0\0\x18ftypisom" + bytes(400))
    write_video(clip.parent / "other.mp4", frames()[:2], 25)
    write_photo(clip.parent / "photo.png", 1)
    (tmp_path / "points.csv").open("a").write("\n" + line("photo", face_at(32, 32, 50)))
    code, report = edit("--edit", "pc0=2")
    assert code == 1
    assert statuses(report) == {
        "clip.mp4": "done",
        "other.mp4": "failed",
        "photo.png": "done",
        "wreck.mp4": "failed",
    }
    reasons = {entry["name"]: entry["reason"] for entry in report["files"]}
    assert "no landmarks of it" in reasons["other.mp4"]
    assert "not a video that can be read" in reasons["wreck.mp4"]


def test_invert_and_zips_take_no_videos(edit, model, clip, tmp_path):
    write_photo(clip.parent / "photo.png", 1)
    _, report = edit(command="invert")
    assert "`sdic edit` takes" in str(report["files"])
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(clip, "clip.mp4")
        archive.write(clip.parent / "photo.png", "photo.png")
    _, report = edit("--edit", "pc0=1", inputs=tmp_path / "some.zip")
    assert statuses(report)["clip.mp4"] == "failed"


def test_an_aligned_video_is_recognised() -> None:
    class Detector:
        def __init__(self) -> None:
            self.settings, self.landmarks = finding.AlignSettings(), {}

        def faces(self, photo: Image.Image):
            return [face_at(photo.width / 2, photo.height / 2, photo.width)]

    class Square:
        size, fps, count = (64, 64), 25.0, 3

        def __iter__(self):
            return iter([np.zeros((64, 64, 3), np.uint8)] * 3)

    assert video_module._tracks(Square(), "a.mp4", Detector(), print) is None  # type: ignore[arg-type]
