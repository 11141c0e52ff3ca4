"""Checks that do what no input may, for the tests of the watchdogs."""

import os
import signal
import time

import numpy as np

from .kinds import Kind


def die(given, folder):
    """Crash."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(given, folder):
    """Never return."""
    time.sleep(3600)


def devour(given, folder):
    """Allocate 1.2 GiB of memory, and free it."""
    return str(len(b"x" * (1200 * 2**20)))


def warn(given, folder):
    """Warn."""
    return str(np.log(np.zeros(1)))


def misbehave(given, folder):
    """Raise what is not documented."""
    raise RuntimeError("a raw exception")


def draw(rng):
    """Draw any input."""
    return {"data": rng.randbytes(8)}


KINDS = {check.__name__: Kind(draw, check) for check in (die, hang, devour, warn, misbehave)}
