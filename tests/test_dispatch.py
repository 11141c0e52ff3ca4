import os
import subprocess
import sys

import pytest

import isthmus
from isthmus import _core
from isthmus._core import _cpu


def import_with(isa):
    """Import isthmus in a new process that is told which instruction set to use."""
    return subprocess.run(
        [sys.executable, "-c", "import isthmus; print(isthmus.build_info()['isa'])"],
        env={**os.environ, "ISTHMUS_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_cpu_supports_the_baseline_and_sets_are_nested():
    supported = _cpu.supported()
    assert supported[0] == "baseline"
    # the slowest comes first, and bfloat16 is slower on Intel's processors
    assert set(supported) == set(_core._NAMES[: len(supported)])
    assert supported[:2] == _core._NAMES[:2][: len(supported)]


@pytest.mark.skipif("avx512bf16" not in _cpu.supported(), reason="needs bfloat16")
@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="needs Linux's /proc/cpuinfo")
def test_bfloat16_is_the_best_on_amd_alone():
    with open("/proc/cpuinfo") as file:
        amd = any("AuthenticAMD" in line for line in file)
    assert _cpu.supported()[-1] == ("avx512bf16" if amd else "avx512")


@pytest.mark.skipif(not os.path.exists("/proc/cpuinfo"), reason="needs Linux's /proc/cpuinfo")
def test_the_cpu_is_seen_as_the_kernel_sees_it():
    with open("/proc/cpuinfo") as file:
        flags = {flag for line in file if line.startswith("flags") for flag in line.split()}
    v3 = {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"}
    v4 = v3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    assert ("avx2" in _cpu.supported()) == (v3 <= flags)
    assert ("avx512" in _cpu.supported()) == (v4 <= flags)
    assert ("avx512bf16" in _cpu.supported()) == (v4 | {"avx512_bf16"} <= flags)


@pytest.mark.parametrize("isa", _core.available())
def test_every_variant_can_be_forced(isa):
    process = import_with(isa)
    assert process.stdout.strip() == isa, process.stderr


def test_the_best_variant_is_the_default():
    assert import_with("").stdout.strip() == _core.available()[-1]


def test_an_unknown_variant_is_refused():
    process = import_with("sse9")
    possible = ", ".join(_core.available())
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        "ImportError: The environment variable ISTHMUS_ISA is set, but 'sse9' is no instruction "
        f"set that isthmus knows; it may be one of: {possible}."
    )


def test_a_variant_that_the_cpu_cannot_run_is_refused(monkeypatch):
    monkeypatch.setattr(_cpu, "supported", lambda: ("baseline",))
    monkeypatch.setattr(_core, "_built", lambda: ("baseline", "avx2"))
    assert _core.available() == ("baseline",)
    message = r"^'avx2' is not supported by this CPU; it may be one of: baseline\.$"
    with pytest.raises(ImportError, match=message):
        _core.load_core("avx2")


def test_a_variant_that_is_not_built_is_refused(monkeypatch):
    monkeypatch.setattr(_cpu, "supported", lambda: _core._NAMES)
    monkeypatch.setattr(_core, "_built", lambda: ("baseline",))
    with pytest.raises(ImportError, match=r"^'avx512' is not built into this installation"):
        _core.load_core("avx512")


def test_nothing_that_the_cpu_can_run_is_a_clear_error(monkeypatch):
    monkeypatch.delenv("ISTHMUS_ISA", raising=False)
    monkeypatch.setattr(_cpu, "supported", lambda: ("baseline",))
    monkeypatch.setattr(_core, "_built", lambda: ("avx512",))
    with pytest.raises(ImportError, match=r"supports baseline, but isthmus was built for avx512;"):
        _core.choose()


def test_all_variants_live_in_one_process():
    cores = [_core.load_core(isa) for isa in _core.available()]
    assert [core.build_info()["isa"] for core in cores] == list(_core.available())


def test_the_core_is_importable_by_its_name():
    assert isthmus._core is sys.modules["isthmus._core"]
    assert isthmus._core.build_info()["isa"] in _core.available()
