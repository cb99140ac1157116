"""Data sets: where the pictures come from."""
