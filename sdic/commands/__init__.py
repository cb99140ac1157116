"""One module per command: add_arguments(parser) and run(args) -> exit code. Heavy imports wait until `run`."""
