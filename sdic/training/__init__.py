"""Training: one loop for everything, what a task says of itself, and what a run leaves behind."""
