"""Other people's weight files, one module for each family."""
