import os

import numpy as np
import pytest

from isthmus._util import threads as _threads
from isthmus._util.threads import resolve_num_threads


@pytest.fixture
def eight_cpus(monkeypatch):
    """A process that may use 8 CPUs, with nothing else to limit it."""
    monkeypatch.setattr(_threads, "_affinity", lambda: 8)
    monkeypatch.setattr(_threads, "_cgroup_quota", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def cgroup(tmp_path):
    """Write control group files, and return the quota that is read from them."""

    def quota(membership, files):
        (tmp_path / "membership").write_text(membership)
        for name, content in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return _threads._cgroup_quota(tmp_path / "membership", tmp_path / "fs")

    return quota


@pytest.mark.parametrize("num_threads", [1, 5, np.int64(5), 1024])
def test_a_positive_number_is_taken_as_it_is(eight_cpus, num_threads):
    assert resolve_num_threads(num_threads) == num_threads
    assert type(resolve_num_threads(num_threads)) is int


@pytest.mark.parametrize("num_threads", [1.0, "2", None, True, np.bool_(True), [1]])
def test_what_is_no_integer_is_refused(num_threads):
    with pytest.raises(TypeError, match=r"^num_threads must be an integer from 0 to 1,024"):
        resolve_num_threads(num_threads)


@pytest.mark.parametrize("num_threads", [-1, 1025, 10**9])
def test_what_no_machine_has_is_refused(num_threads):
    message = f"^num_threads must be an integer from 0 to 1,024, but it was {num_threads}"
    with pytest.raises(ValueError, match=message):
        resolve_num_threads(num_threads)


def test_zero_means_the_cpus_of_this_process():
    assert 1 <= resolve_num_threads(0) <= (os.cpu_count() or 1)


def test_affinity_limits(eight_cpus):
    assert resolve_num_threads(0) == 8


@pytest.mark.parametrize(
    ("value", "expected"),
    [("3", 3), (" 2,4 ", 2), ("16", 8), ("0", 8), ("-1", 8), ("many", 8), ("", 8), ("²", 8)],
)
def test_omp_num_threads_limits(eight_cpus, monkeypatch, value, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert resolve_num_threads(0) == expected


def test_quota_limits(eight_cpus, monkeypatch):
    monkeypatch.setattr(_threads, "_cgroup_quota", lambda: 2)
    assert resolve_num_threads(0) == 2


@pytest.mark.parametrize(
    ("cpu_max", "expected"),
    [
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),  # rounded up
        ("10000 100000\n", 1),
        ("max 100000\n", None),
        ("nonsense\n", None),
    ],
)
def test_cgroup_v2(cgroup, cpu_max, expected):
    assert cgroup("0::/job\n", {"job/cpu.max": cpu_max}) == expected


def test_cgroup_v2_takes_the_tightest_ancestor(cgroup):
    files = {"slice/cpu.max": "300000 100000", "slice/job/cpu.max": "max 100000"}
    assert cgroup("0::/slice/job\n", files) == 3


def test_cgroup_v2_in_a_container_that_sees_only_its_own_root(cgroup):
    assert cgroup("0::/host/path\n", {"cpu.max": "400000 100000"}) == 4


@pytest.mark.parametrize(("quota", "expected"), [("250000\n", 3), ("-1\n", None)])
def test_cgroup_v1(cgroup, quota, expected):
    membership = "7:memory:/job\n4:cpu,cpuacct:/job\n1:cpuset:/\n"
    files = {"cpu/job/cpu.cfs_quota_us": quota, "cpu/job/cpu.cfs_period_us": "100000\n"}
    assert cgroup(membership, files) == expected


def test_no_cgroups(tmp_path):
    assert _threads._cgroup_quota(tmp_path / "absent", tmp_path) is None
