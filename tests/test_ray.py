"""Lists by Ray Data are those of one machine."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import BiasedMF, synthetic_ratings
from isthmus.lists import Lister, write_lists
from isthmus.ray import Scorer

RATINGS = synthetic_ratings(60, 40, 900, random_state=0)

# In a process of its own, as Ray leaves threads and warnings behind. Two CPUs are the workers', and
# one reads and writes.
PROGRAM = """
import sys
import ray
from isthmus.ray import Scorer

histories, model, lists = sys.argv[1:]
ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
ray.data.DataContext.get_current().enable_progress_bars = False
ray.data.read_parquet(histories).map_batches(
    Scorer,
    fn_constructor_args=(model, 5),
    fn_constructor_kwargs={"unknown_items": "skip"},
    batch_format="pyarrow",
    batch_size=16,
    concurrency=2,
).write_parquet(lists)
ray.shutdown()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, and histories of users of whom it knows every second."""
    folder = tmp_path_factory.mktemp("ray")
    BiasedMF(factors=4, epochs=2, random_state=0).fit(RATINGS).save(folder / "m")
    random = np.random.default_rng(0)
    items = [random.choice(42, random.integers(0, 9), replace=False) for _ in range(120)]
    table = pa.table(
        {
            "user": random.permutation(120),
            "items": [row.tolist() for row in items],
            "ratings": [(row % 5 + 1.0).tolist() for row in items],
            "exclude": [[1, 2] if user % 3 else None for user in range(120)],
            "candidates": [list(range(3, 20)) if user % 4 else None for user in range(120)],
        }
    )
    (folder / "histories").mkdir()
    for part in range(4):
        pq.write_table(table.slice(30 * part, 30), folder / "histories" / f"{part}.parquet")
    return folder


def by_user(path):
    table = pq.read_table(path)
    return table.select(["user", "items", "scores"]).sort_by("user").to_pydict()


def test_a_scorer_is_the_lister_of_a_file(folder):
    table = pq.read_table(folder / "histories")
    model = BiasedMF.load(folder / "m")
    expected = Lister(model, 5, exclude_seen=False, unknown_items="skip", order="rating")(table)
    scorer = Scorer(
        *(folder / "m", 5),
        exclude_seen=False,
        unknown_items="skip",
        order="rating",
        num_threads=2,
    )
    assert scorer(table).equals(expected)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        Scorer(folder / "absent")


@pytest.mark.skipif(find_spec("ray") is None, reason="needs ray: pip install 'isthmus[ray]'")
def test_two_workers_give_the_rows_of_one_machine(folder, tmp_path):
    lister = Lister(BiasedMF.load(folder / "m"), 5, unknown_items="skip")
    n_users, _ = write_lists(lister, tmp_path / "ours", folder / "histories")
    arguments = [folder / "histories", folder / "m", tmp_path / "theirs"]
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env={**os.environ, "HOME": str(tmp_path), "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert n_users == 120
    assert by_user(tmp_path / "theirs") == by_user(tmp_path / "ours")
