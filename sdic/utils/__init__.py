"""Leaves that know nothing of networks: files, pictures, devices, seeds."""
