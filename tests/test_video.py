"""Video files: frames in and out, sound copied, files whole or not there."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdic.errors import ImageError, SdicError
from sdic.utils import video
from sdic.utils.video import Frame, VideoWriter, ending_for, read_video, write_video

av = pytest.importorskip("av", reason="PyAV is not installed (pip install av)")


def frames(count: int, width: int = 64, height: int = 48) -> list[Frame]:
    """A slow change of colour, and a bright square that moves."""
    result = []
    for k in range(count):
        frame = np.full((height, width, 3), (200, 60 + 6 * k, 30), np.uint8)
        frame[8:24, 4 + k : 20 + k] = (20, 90, 220)
        result.append(frame)
    return result


def with_sound(path: Path, pictures: list[Frame], codec: str = "aac", seconds: float = 1.0) -> Path:
    """A video with a tone."""
    tone = path.with_name("tone" + path.suffix)
    form = "matroska" if path.suffix == ".mkv" else None
    with av.open(str(tone), "w", format=form) as out:
        stream = out.add_stream(codec, rate=48_000)
        layout = "mono"
        for start in range(0, int(48_000 * seconds), 960):
            wave = 0.3 * np.sin(np.arange(start, start + 960) * 2 * np.pi * 440 / 48_000)
            kind = stream.codec_context.format.name
            data = wave.astype(np.float32) if kind.startswith("flt") else (wave * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(data[None], format=kind, layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    write_video(path, pictures, 25, sound_of=tone)
    tone.unlink()
    return path


def sound_packets(path: Path) -> list[tuple[int, bytes]]:
    with av.open(str(path)) as container:
        return [(p.pts, bytes(p)) for p in container.demux(container.streams.audio[0]) if p.dts is not None]


def test_frames_come_back_in_order_with_their_colours(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", iter(frames(30)), 25)
    found = read_video(tmp_path / "a.mp4")
    assert (found.size, found.fps, found.count) == ((64, 48), 25.0, 30)
    for _ in range(2):  # from the start each time
        back = list(found)
        assert len(back) == 30
        for k, frame in enumerate(back):
            off = [float(np.abs(one.astype(int) - frame).mean()) for one in frames(30)]
            assert off[k] == min(off) <= 6
    times = [time for time, _ in found.timed()]
    assert times == [Fraction(k, 25) for k in range(30)]
    assert [file.name for file in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255), (128, 64, 200)])
@pytest.mark.parametrize("height", [64, 720])
def test_colours_are_those_of_the_frame(tmp_path: Path, colour: tuple[int, int, int], height: int) -> None:
    write_video(tmp_path / "a.mp4", [np.full((height, 64, 3), colour, np.uint8)] * 3, 25)
    back = next(iter(read_video(tmp_path / "a.mp4")))
    assert np.abs(back.astype(int) - colour).max() <= 4


def test_a_file_that_does_not_say_its_matrix_has_the_usual_one(tmp_path: Path) -> None:
    for height, matrix in ((64, 5), (720, 1)):
        frame = av.VideoFrame.from_ndarray(np.full((height, 64, 3), (255, 0, 0), np.uint8), "rgb24")
        with av.open(str(tmp_path / "a.mp4"), "w") as out:
            stream = out.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, height, "yuv420p"
            out.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace=matrix)))
            out.mux(stream.encode(None))
        back = next(iter(read_video(tmp_path / "a.mp4")))
        assert np.abs(back.astype(int) - (255, 0, 0)).max() <= 4


def test_sound_is_copied_packet_by_packet(tmp_path: Path) -> None:
    first = with_sound(tmp_path / "a.mp4", frames(25))
    write_video(tmp_path / "b.mp4", frames(25), 25, sound_of=first)
    assert len(sound_packets(first)) > 40
    assert sound_packets(first) == sound_packets(tmp_path / "b.mp4")
    write_video(tmp_path / "short.mp4", frames(5), 25, sound_of=first)
    assert 8 <= len(sound_packets(tmp_path / "short.mp4")) <= 13  # 0.2 seconds of it


def test_sound_that_mp4_does_not_hold_goes_into_matroska(tmp_path: Path) -> None:
    source = with_sound(tmp_path / "a.mkv", frames(5), "pcm_s16le")
    assert ending_for(read_video(source)) == ".mkv"
    with pytest.raises(SdicError, match="mkv"):
        write_video(tmp_path / "b.mp4", frames(5), 25, sound_of=source)
    assert not (tmp_path / "b.mp4").exists()
    write_video(tmp_path / "b.mkv", frames(5), 25, sound_of=source)
    assert read_video(tmp_path / "b.mkv").sound == ("pcm_s16le",)


def test_times_between_frames_are_kept(tmp_path: Path) -> None:
    times = [Fraction(k, 90) for k in (0, 3, 6, 12, 13, 40)]
    with VideoWriter(tmp_path / "a.mp4", 30) as writer:
        for time, frame in zip(times, frames(6), strict=True):
            writer.write(frame, time)
    assert [time for time, _ in read_video(tmp_path / "a.mp4").timed()] == times


def test_odd_sides_become_even(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", frames(3, 33, 21), 25)
    assert read_video(tmp_path / "a.mp4").size == (34, 22)


def test_half_a_video_is_never_left(tmp_path: Path) -> None:
    def broken() -> Any:
        yield from frames(10)
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_video(tmp_path / "a.mp4", broken(), 25)
    with pytest.raises(ValueError, match="no frames"):
        write_video(tmp_path / "a.mp4", [], 25)
    with pytest.raises(ValueError, match="one size"):
        write_video(tmp_path / "a.mp4", [*frames(1), *frames(1, 32)], 25)
    assert list(tmp_path.iterdir()) == []


def test_a_phone_held_upright(tmp_path: Path) -> None:
    """The file's display matrix turns its frames."""
    write_video(tmp_path / "flat.mp4", frames(5), 25)
    data = bytearray((tmp_path / "flat.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the matrix of the track's header, version 0
    one = (1 << 16).to_bytes(4, "big")
    minus, zero = (-(1 << 16)).to_bytes(4, "big", signed=True), bytes(4)
    data[at : at + 36] = zero + one + zero + minus + zero + zero + zero + zero + (1 << 30).to_bytes(4, "big")
    (tmp_path / "a.mp4").write_bytes(data)
    found = read_video(tmp_path / "a.mp4")
    assert found.size == (48, 64)
    flat, turned = (next(iter(read_video(tmp_path / name))) for name in ("flat.mp4", "a.mp4"))
    assert np.array_equal(turned, np.rot90(flat, -1))  # that matrix: a quarter turn with the clock


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    with pytest.raises(ImageError, match=r"a\.mp4"):
        read_video(tmp_path / "a.mp4")
    with pytest.raises(ImageError, match="no such"):
        read_video(tmp_path / "b.mp4")
    write_video(tmp_path / "c.mp4", frames(20), 25)
    whole = (tmp_path / "c.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="half"):
        read_video(tmp_path / "half.mp4")


def test_playlists_are_not_followed(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mkv", frames(3), 25)
    for name, text in {
        "a.mp4": f"#EXTM3U\n#EXTINF:1,\n{tmp_path / 'secret.mkv'}\n#EXT-X-ENDLIST\n",
        "b.mp4": f"ffconcat version 1.0\nfile {tmp_path / 'secret.mkv'}\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ImageError):
            read_video(tmp_path / name)


def test_frames_of_one_after_the_other(tmp_path: Path) -> None:
    """No list of frames is made on the way: what is written can be read as it comes."""
    alive = 0

    class Counted:
        def __init__(self) -> None:
            self.most = 0

        def __iter__(self) -> Any:
            nonlocal alive
            for frame in frames(50):
                alive += 1
                self.most = max(self.most, alive)
                yield frame
                alive -= 1

    counted = Counted()
    write_video(tmp_path / "a.mp4", counted, 25)
    assert counted.most == 1


def test_without_pyav(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    assert not video.has_video()
    with pytest.raises(SdicError, match="pip install av"):
        write_video(tmp_path / "a.mp4", frames(1), 25)
