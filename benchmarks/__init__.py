"""Benchmarks: each a command, ``python -m benchmarks.NAME``, that prints a table."""
