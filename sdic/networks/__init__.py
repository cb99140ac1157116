"""Networks: differentiable functions with parameters. They know no files, losses, devices or options."""
