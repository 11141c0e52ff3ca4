"""Fuzzing of what reads files and of what trains; see `python -m tests.fuzz --help`.

An input is a pure function of a seed, its kind and its number. Workers are processes of their own,
so that a crash, a hang or a hunger for memory is a failure as any other: the input is saved as a
small file that replays it.
"""
