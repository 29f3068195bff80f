"""Benchmarks as code: declared cases, one runner, thresholds that can fail. See README.md."""
