"""One module per command: options in, an exit code out. Each is imported only when it runs."""
