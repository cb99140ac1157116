"""The switch between the reference and the fast operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_reference: ContextVar[bool] = ContextVar("sdic_reference_ops", default=False)


def is_reference() -> bool:
    """True inside `use_reference()`."""
    return _reference.get()


@contextmanager
def use_reference() -> Iterator[None]:
    """Compute with the plain reference operations inside this block (same results, several times slower)."""
    token = _reference.set(True)
    try:
        yield
    finally:
        _reference.reset(token)
