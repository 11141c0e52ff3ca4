import os
from pathlib import Path

import pytest

pytest_plugins = ["core_fixtures"]

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir():
    """Folder of the real data sets, for tests marked `data`."""
    folder = Path(os.environ.get("ISTHMUS_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs real data, but the folder {folder} (ISTHMUS_DATA) is absent")
    return folder
