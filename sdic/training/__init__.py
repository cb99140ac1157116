"""Training DIPN and DICN: settings, the two passes, the loop, and what a run leaves behind."""
