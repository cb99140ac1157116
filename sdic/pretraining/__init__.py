"""Training of everything that SDIC keeps frozen: attributes, identity, generator, e4e, directions.

Each stage is a module with a `Stage` that `loop.train` steps, saves and resumes; `build` runs them in order.
"""
