"""Commands that turn the core into the experiments of the papers: one a file, parse, call, show."""
