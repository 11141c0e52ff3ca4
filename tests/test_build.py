import importlib
import importlib.metadata
import re
import subprocess
import sys

import pytest

import isthmus
from isthmus import _core


def test_python_and_every_core_have_one_version():
    version = importlib.metadata.version("isthmus")
    assert isthmus.__version__ == version
    for isa in _core.available():
        core = _core.load_core(isa)
        assert core.__version__ == core.build_info()["version"] == version


def test_versions_that_differ_are_refused_at_import(monkeypatch):
    monkeypatch.setattr(isthmus._core, "__version__", "0.0.1")
    with pytest.raises(ImportError, match=r"compiled core is version 0\.0\.1; reinstall isthmus"):
        importlib.reload(isthmus)


def test_build_info_says_what_a_bug_report_needs():
    info = isthmus.build_info()
    assert set(info) == {
        "version",
        "isa",
        "available_isas",
        "compiler",
        "compiler_flags",
        "threads_backend",
        "max_threads",
        "num_threads",
        "eigen",
        "pybind11",
    }
    assert info["isa"] in info["available_isas"]
    assert info["threads_backend"] in {"openmp", "std", "serial"}
    assert info["num_threads"] >= 1
    assert info["max_threads"] >= 1
    assert re.fullmatch(r"[345]\.\d+\.\d+\S*", info["eigen"])


@pytest.mark.parametrize("isa", _core.available())
def test_no_core_is_built_for_the_machine_it_was_built_on_or_with_reordered_sums(isa):
    flags = _core.load_core(isa).build_info()["compiler_flags"]
    assert "-march=native" not in flags
    assert "-ffast-math" not in flags
    assert ("-march=" in flags) == (isa != "baseline")


def test_import_leaves_scipys_optimizers_to_those_who_train_with_them():
    code = "import isthmus, sys; sys.exit('scipy.optimize' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
