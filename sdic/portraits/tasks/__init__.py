"""Trainings that need a rendered portrait's truth, one file a task; importing this makes them known."""

from sdic.portraits import directions
from sdic.portraits.tasks import attributes, identity, supervised

__all__ = ["attributes", "directions", "identity", "supervised"]
