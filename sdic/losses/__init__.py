"""Terms of losses, from pictures and codes to a scalar. Feature networks arrive as arguments."""
