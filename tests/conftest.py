import os
import signal
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest_plugins = ["core_fixtures"]

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def heed_ctrl_c():
    """A shell starts what runs in the background deaf to Ctrl-C, which some tests send."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def largest_file():
    """A context in which no file may grow beyond so many bytes, as on a disk that is full."""
    resource = pytest.importorskip("resource", reason="limits are POSIX")

    @contextmanager
    def limited(size):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the real data sets, for tests marked `data`."""
    folder = Path(os.environ.get("ISTHMUS_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs real data, but the folder {folder} (ISTHMUS_DATA) is absent")
    return folder


@pytest.fixture
def run(capsys):
    """Run the program in this process: its exit code, and what it wrote to stdout and stderr."""

    from isthmus.cli import app  # for those who run the program alone: it imports much

    def run(*args):
        with pytest.raises(SystemExit) as end:
            app([str(arg) for arg in args], prog_name="isthmus")
        return (end.value.code or 0, *capsys.readouterr())

    return run
