"""The joint loss of SDIC (eq. 7-9), term by term. Feature networks arrive as arguments."""
