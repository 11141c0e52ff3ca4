"""What the pytest-benchmark suites share."""

import pytest

from isthmus import Ratings, synthetic_ratings


@pytest.fixture(scope="session")
def ratings() -> Ratings:
    """A small set with real skew."""
    return synthetic_ratings(shape="ml-100k", random_state=0)
