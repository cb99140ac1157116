"""A method that no other file knows: its network, itself, a layout, a card, a config. Importing it makes it known."""

from tests.toy_method import card, layout, method, network

__all__ = ["card", "layout", "method", "network"]
