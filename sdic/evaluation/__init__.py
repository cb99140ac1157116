"""Metrics of the tables, and what computes them."""
