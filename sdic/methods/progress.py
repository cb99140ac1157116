"""How far a method is within a photo, for those that take minutes."""

from collections.abc import Callable

Watch = Callable[[str, int, int], None]
"""Called with what is done, such as "tuning", the number of the step that is finished, and how many there are at
most."""


def nothing(what: str, step: int, steps: int) -> None:
    """A `Watch` that looks away."""
