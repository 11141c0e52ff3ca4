"""The programs in examples/ run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.data
def test_cvae_on_citeulike(data_dir):
    done = subprocess.run(
        [sys.executable, EXAMPLES / "cvae_citeulike.py", "--quick"],
        env={**os.environ, "ISTHMUS_DATA": str(data_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("among the new papers") == 5
    assert "reconstruction: " in done.stdout
