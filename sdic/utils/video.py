"""Video files frame by frame, through PyAV where that is installed: read upright, written whole or not at all.

Memory is that of some frames, however long the video is. Frames are [H, W, 3] uint8, RGB. Sound is copied, not encoded
again. Of a stranger's file only formats that hold everything themselves are opened: playlists would lead elsewhere.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdic.errors import ImageError, SdicError
from sdic.utils.decoding import PIXEL_LIMIT
from sdic.utils.files import atomic_file
from sdic.utils.text import one_line

Frame = NDArray[np.uint8]

FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpeg,mpegts,ogg"
"""What is opened, by ffmpeg's names."""
IN_MP4 = frozenset(("aac", "mp3", "ac3", "eac3", "alac", "flac", "opus", "mp2"))
"""Sound that an MP4 file may hold; with any other the video becomes a Matroska file."""
QUALITY = "16"  # x264's: hardly to be told from the original
CLOCK = 90_000  # ticks a second
MOST_RATE = 1000.0  # frames a second
_MATRIX = {"bt709": 1, "bt601": 5}
_KNOWN = (1, 4, 5, 7, 9)  # matrices of colours that the conversion to RGB has
_HDR = {16: "PQ", 18: "HLG"}  # by the transfer function's number
_UNSAID = 2


@dataclass(frozen=True)
class Video:
    """A video file; iterating over it gives its frames, from the first one each time.

    size: (width, height) of the upright frames. fps: frames a second, on average. count: frames as the file says or its
    length suggests, 0 where neither is known. turns: quarter turns against the clock from the file to upright.
    colours: numbers of primaries and transfer function. pixel: width of a pixel by its height. sound: the codecs of its
    sound. notes: what its owner should know.
    """

    path: Path
    size: tuple[int, int]
    fps: float
    count: int = 0
    turns: int = 0
    colours: tuple[int, int] = (_UNSAID, _UNSAID)
    pixel: Fraction = Fraction(1)
    sound: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Frame]:
        """The frames, upright."""
        return (frame for _, frame in self.timed())

    def timed(self) -> Iterator[tuple[Fraction, Frame]]:
        """(seconds from the start of the file, frame). ImageError where the file turns out to be damaged."""
        av, last = _av(), Fraction(-1)
        with _opened(self.path) as container, _only_image_errors(self.path):
            start = Fraction(container.start_time or 0, av.time_base)
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            width, height = self.size if self.turns % 2 == 0 else self.size[::-1]
            for frame in container.decode(stream):
                step = Fraction(1, round(self.fps * 1000)) * 1000
                time = last + step if frame.pts is None else frame.pts * frame.time_base - start
                time = max(time, last + Fraction(1, CLOCK)) if last >= 0 else max(time, Fraction(0))
                last = time
                yield time, np.ascontiguousarray(np.rot90(_rgb(frame, width, height), self.turns))


def read_video(path: str | Path) -> Video:
    """A video file's description; its frames are decoded as they are asked for. ImageError for what is no video that
    can be read; SdicError where PyAV is not installed."""
    path = Path(path)
    with _opened(path) as container, _only_image_errors(path):
        if not container.streams.video:
            raise ImageError(f"{path}: no pictures in it")
        stream = container.streams.video[0]
        context = stream.codec_context
        if not 0 < context.width * context.height <= PIXEL_LIMIT:
            raise ImageError(f"{path}: frames of {context.width}x{context.height} px")
        rate = float(stream.average_rate or stream.base_rate or 0)
        rate = rate if 0 < rate <= MOST_RATE else 25.0
        seconds = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        first = next(container.decode(stream), None)
        if first is None:
            raise ImageError(f"{path}: no picture in it can be decoded")
        turns = round(first.rotation / 90) % 4
        size = (first.width, first.height) if turns % 2 == 0 else (first.height, first.width)
        pixel = Fraction(context.sample_aspect_ratio or 1) or Fraction(1)
        colours = int(context.color_primaries), int(context.color_trc)
        sound = tuple(one.codec_context.name for one in container.streams.audio)
    notes = []
    if colours[1] in _HDR:
        notes.append(f"HDR video ({_HDR[colours[1]]}): its colours are taken as they are coded, in 8 bits")
    count = stream.frames or round(seconds * rate)
    return Video(path, size, rate, count, turns, colours, pixel if turns % 2 == 0 else 1 / pixel, sound, tuple(notes))


def ending_for(video: Video) -> str:
    """`.mp4`, or `.mkv` where MP4 cannot hold the video's sound as it is."""
    return ".mp4" if IN_MP4.issuperset(video.sound) else ".mkv"


def write_video(path: Path, frames: Iterable[Frame], fps: float, sound_of: Path | None = None) -> None:
    """Frames of one size -> a video file (H.264) that is whole or not there: MP4, or Matroska for names in `.mkv`.

    sound_of: a video or sound file whose sound is copied; what lies behind the last frame is left out. Sides of odd
    length are extended by a pixel, which the coding asks for. ValueError where there are no frames or they differ in
    size; SdicError where PyAV is not installed, or the sound does not go into such a file.
    """
    with VideoWriter(path, fps, sound_of) as writer:
        for frame in frames:
            writer.write(frame)


class VideoWriter:
    """`write_video` frame by frame, to be used as a context: the file takes its name when the block ends well.

    like: a video whose colours and shape of pixels the frames have.
    """

    def __init__(self, path: Path, fps: float, sound_of: Path | None = None, like: Video | None = None):
        if not 0 < fps <= MOST_RATE:
            raise ValueError(f"frames a second must be above 0 and at most {MOST_RATE:g}, got {fps}")
        self.path, self.fps, self._sound_of, self._like = Path(path), fps, sound_of, like
        self._stack = contextlib.ExitStack()
        self._size: tuple[int, int] | None = None
        self._count = 0
        self._last = Fraction(0)
        self._packets: Iterator[tuple[Fraction, Any]] = iter(())
        self._waiting: tuple[Fraction, Any] | None = None

    def __enter__(self) -> VideoWriter:
        _av()
        return self

    def write(self, frame: Frame, seconds: Fraction | None = None) -> None:
        """The next frame, shown from `seconds` on; by default one over fps after the last."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise ValueError(f"a frame is uint8 [H, W, 3], got {frame.dtype} {list(frame.shape)}")
        height, width = frame.shape[:2]
        if self._size is None:
            self._begin(width, height)
        if self._size != (width, height):
            raise ValueError(f"frames of one video have one size: {self._size}, then {(width, height)}")
        if seconds is None:
            seconds = Fraction(0) if not self._count else self._last + 1 / Fraction(self.fps).limit_denominator(1001)
        self._last, self._count = seconds, self._count + 1
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        picture = _av().VideoFrame.from_ndarray(np.ascontiguousarray(even), "rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace=_MATRIX["bt709"])
        picture.pts, picture.time_base = round(seconds * CLOCK), Fraction(1, CLOCK)
        self._copy_sound(seconds)
        self._container.mux(self._stream.encode(picture))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None and self._size is None:
            kind, error = ValueError, ValueError(f"{self.path}: no frames")
            self._stack.__exit__(kind, error, at)
            raise error
        if kind is None:
            try:
                self._container.mux(self._stream.encode(None))
                self._copy_sound(self._last + 1 / Fraction(self.fps))
                self._container.close()
            except BaseException as failed:
                self._stack.__exit__(type(failed), failed, failed.__traceback__)
                raise
        self._stack.__exit__(kind, error, at)

    def _begin(self, width: int, height: int) -> None:
        av, like = _av(), self._like
        form = "matroska" if self.path.suffix.lower() == ".mkv" else "mp4"
        handle = self._stack.enter_context(atomic_file(self.path))
        self._container = av.open(handle, "w", format=form)
        self._stack.callback(self._container.close)
        try:
            self._stream = self._container.add_stream("libx264", rate=Fraction(self.fps).limit_denominator(1001))
        except Exception as error:
            raise SdicError("this PyAV was built without H.264; pip install --force-reinstall av") from error
        context = self._stream.codec_context
        context.width, context.height = width + width % 2, height + height % 2
        context.pix_fmt, context.time_base = "yuv420p", Fraction(1, CLOCK)
        context.options = {"crf": QUALITY, "preset": "medium"}
        context.colorspace, context.color_range = _MATRIX["bt709"], 1
        primaries, transfer = (1, 1) if like is None else like.colours
        context.color_primaries, context.color_trc = primaries, transfer
        if like is not None and like.pixel != 1:
            context.sample_aspect_ratio = like.pixel
        if self._sound_of is not None:
            self._open_sound(self._sound_of, form)
        self._size = width, height

    def _open_sound(self, path: Path, form: str) -> None:
        source = self._stack.enter_context(_opened(path))
        wrong = {one.codec_context.name for one in source.streams.audio} - IN_MP4
        if form == "mp4" and wrong:
            raise SdicError(f"{self.path}: an MP4 file does not hold the sound of {path} ({wrong.pop()}); name it .mkv")
        copies = {one.index: self._container.add_stream_from_template(one) for one in source.streams.audio}
        if not copies:
            return
        start = Fraction(source.start_time or 0, _av().time_base)

        def packets() -> Iterator[tuple[Fraction, Any]]:
            with _only_image_errors(path):
                for packet in source.demux(*source.streams.audio):
                    if packet.dts is None:  # the empty one at the end
                        continue
                    shift = round(start / packet.time_base)
                    packet.dts -= shift
                    packet.pts = packet.dts if packet.pts is None else packet.pts - shift
                    seconds = packet.dts * packet.time_base
                    packet.stream = copies[packet.stream_index]
                    yield seconds, packet

        self._packets = packets()

    def _copy_sound(self, until: Fraction) -> None:
        """The sound up to a time, so that sound and pictures lie side by side in the file, and nothing piles up."""
        while True:
            if self._waiting is None:
                self._waiting = next(self._packets, None)
            if self._waiting is None or self._waiting[0] > until:
                return
            self._container.mux(self._waiting[1])
            self._waiting = None


def _rgb(frame: Any, width: int, height: int) -> Frame:
    """A decoded frame as RGB. A file that does not say by which matrix its colours are coded has the usual one."""
    said = int(frame.colorspace)
    matrix = said if said in _KNOWN else _MATRIX["bt709" if frame.height >= 720 else "bt601"]
    array: Frame = frame.to_ndarray(format="rgb24", width=width, height=height, src_colorspace=matrix)
    return array


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with _only_image_errors(path):
        if not path.is_file():  # a pipe would be waited for
            raise ImageError(f"{path}: no such video file")
        container = _av().open(str(path), options={"format_whitelist": FORMATS}, metadata_errors="replace")
    with container:
        yield container


@contextlib.contextmanager
def _only_image_errors(path: Path) -> Iterator[None]:
    """Whatever PyAV says of a file becomes an ImageError of one line."""
    try:
        yield
    except SdicError:
        raise
    except Exception as error:
        raise ImageError(f"{path}: not a video that can be read ({one_line(error)})") from error


def has_video() -> bool:
    """Whether PyAV is installed."""
    try:
        _av()
    except SdicError:
        return False
    return True


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise SdicError("video files need PyAV: pip install av, or pip install .[video] in the clone") from error
    av.logging.set_level(av.logging.PANIC)
    return av
