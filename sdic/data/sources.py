"""Where pictures come from, by name. A new source is a class with `names`, `read`, `check`, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sdic.data.folder import FolderSource, PictureSource, ZipSource, choose, read_name_list
from sdic.data.synthetic import SyntheticSource
from sdic.errors import ConfigError, UnknownNameError


@dataclass(frozen=True)
class Request:
    """What to open: a source's name, its path, how many pictures (0: all), which part of the run asks, and its keys."""

    source: str
    path: str
    names: str = ""
    limit: int = 0
    part: str = "data"


def _synthetic(request: Request) -> PictureSource:
    # Training and validation draw different pictures.
    return SyntheticSource(request.limit or 64, seed=0 if request.part == "data" else 1, prefix=request.part)


def _path_of(request: Request) -> str:
    if not request.path:
        key = f"{request.part}.path"
        raise ConfigError(f"{key} is empty: say where the pictures are, {key}=FOLDER_OR_ZIP")
    return request.path


SOURCES: dict[str, Callable[[Request], PictureSource]] = {
    "folder": lambda request: FolderSource(_path_of(request)),
    "zip": lambda request: ZipSource(_path_of(request)),
    "synthetic": _synthetic,
}
"""name -> how to open it."""

NEED_NO_PATH = ("synthetic",)
"""Sources that make their pictures themselves."""


def open_source(request: Request) -> tuple[PictureSource, list[str], dict[str, str]]:
    """(source, the names to use, name -> what is wrong with it for those that are left out).

    The names are sorted, reduced to the list in `names` if given, without pictures whose header cannot be read, and
    then cut to `limit`. Pictures and videos of kinds that sdic does not read are among those left out; with a list,
    only those it names, and with a limit those up to the last name. ConfigError if none is left.
    """
    kind = request.source
    if kind == "auto":
        kind = "zip" if Path(request.path).suffix.lower() == ".zip" else "folder"
    if kind not in SOURCES:
        raise UnknownNameError("picture source", kind, [*SOURCES, "auto"])
    source = SOURCES[kind](request)
    names = sorted([*source.names, *source.unread])
    if request.names:
        names = choose(source.names, read_name_list(request.names), request.names, source.unread)
    readable: list[str] = []
    broken: dict[str, str] = {}
    for name in names:
        if request.limit and len(readable) == request.limit:
            break
        problem = source.unread.get(name) or source.check(name)
        if problem:
            broken[name] = problem
        else:
            readable.append(name)
    if not readable:
        first = next(iter(broken.items()))
        raise ConfigError(
            f"{request.path}: none of {len(broken)} pictures can be read, such as {first[0]} ({first[1]}); "
            f"set {request.part}.path"
        )
    return source, readable, broken
