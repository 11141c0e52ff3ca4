"""How many threads this process may use."""

import math
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from time import monotonic

from isthmus._util.checks import check_integer

__all__ = ["resolve_num_threads"]

_MOST_THREADS = 1024
"""Most threads: more are not faster on any machine."""


def resolve_num_threads(num_threads: int) -> int:
    """Turn the argument ``num_threads`` of the API into a number of threads.

    Parameters
    ----------
    num_threads : int
        From 0 to 1,024. 0 stands for all that this process may use: the CPUs that it is bound to,
        no more than its control group's CPU quota (rounded up) and ``OMP_NUM_THREADS`` allow.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    TypeError
        If `num_threads` is no integer.
    ValueError
        If `num_threads` is not from 0 to 1,024.

    Examples
    --------
    >>> resolve_num_threads(3)
    3
    """
    check_integer("num_threads", num_threads, low=0, high=_MOST_THREADS)
    if num_threads > 0:
        return int(num_threads)
    quota = _recent(_cgroup_quota, int(monotonic()))
    limits = (_affinity(), quota, _omp_num_threads())
    return max(1, min(limit for limit in limits if limit is not None))


@lru_cache(maxsize=1)
def _recent(quota: Callable[[], int | None], second: int) -> int | None:
    """Return a quota, read once a second at most: reading it takes as long as scoring a user."""
    return quota()


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _omp_num_threads() -> int | None:
    """Return the first number of OMP_NUM_THREADS, or None where OpenMP would ignore it too."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) > 0 else None


def _cgroup_quota(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the CPU quota of this process's control group in whole CPUs, or None without one."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:  # not Linux
        return None
    quotas = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mount = root
        elif "cpu" in controllers.split(","):
            mount = root / "cpu"
        else:
            continue
        # A group cannot use more than the groups around it. In a container the path may be the
        # host's, of which only the root is visible.
        leaf = mount / group.lstrip("/")
        for directory in (leaf, *leaf.parents):
            quotas.append(_quota(directory))
            if directory == mount:
                break
    return min((math.ceil(quota) for quota in quotas if quota is not None), default=None)


def _quota(directory: Path) -> float | None:
    """Read the CPU quota of one control group, of version 2 or 1."""
    try:
        try:
            quota, period = (directory / "cpu.max").read_text().split()
        except OSError:
            quota = (directory / "cpu.cfs_quota_us").read_text()
            period = (directory / "cpu.cfs_period_us").read_text()
        return float(quota) / float(period) if float(quota) > 0 else None
    except (OSError, ValueError):  # no such file, or "max"
        return None
