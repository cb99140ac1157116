"""Importing this makes the toy known."""

from tests.toy_method import card, layout, method, network

__all__ = ["card", "layout", "method", "network"]
