"""Lists by Ray Data, and models by Ray Train, are those of one machine."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from isthmus import AutoRec, BiasedMF, shard, synthetic_ratings, write_ratings
from isthmus.distributed import ThreadCommunicator
from isthmus.lists import Lister, write_lists
from isthmus.ray import Scorer, fit

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


TRAIN = """
import os
import signal
import sys
import ray
from isthmus import AutoRec, distributed
from isthmus.ray import fit

shards, output, storage, checkpoint = sys.argv[1:]
ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
fit(
    AutoRec(hidden_units=(12,), epochs=3, precision="float32", random_state=3),
    shards,
    output,
    workers=2,
    slices=2,
    storage=storage,
    checkpoint=checkpoint,
    max_failures=1,
)
ray.shutdown()
"""

# Loaded by every Python of the job: rank 1 dies once, in the second epoch of 4 x 3 exchanges.
DIES = """
import os

try:
    from isthmus import distributed
except ImportError:  # not yet on the path
    pass
else:
    exchange = distributed.TorchCommunicator.alltoall
    done = 0

    def exchange_or_die(self, array):
        global done
        done += array.dtype == "float32"
        mark = os.environ["DEATH_MARK"]
        if self.rank == 1 and done == 18 and not os.path.exists(mark):
            open(mark, "x").close()
            os.kill(os.getpid(), 9)
        return exchange(self, array)

    distributed.TorchCommunicator.alltoall = exchange_or_die
"""


@pytest.mark.skipif(
    find_spec("ray") is None or find_spec("torch") is None, reason="needs ray and torch"
)
def test_workers_that_ray_starts_anew_train_as_if_none_had_died(tmp_path):
    write_ratings(RATINGS, tmp_path / "r.parquet")
    shards = shard(tmp_path / "r.parquet", tmp_path / "shards", buckets=4)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DIES)
    names = ("shards", "m", "results", "checkpoint")
    ended = subprocess.run(
        [sys.executable, "-c", TRAIN, *(str(tmp_path / name) for name in names)],
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONPATH": f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}",
            "DEATH_MARK": str(tmp_path / "died"),
        },
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    assert (tmp_path / "died").exists()
    parameters = {"hidden_units": (12,), "epochs": 3, "precision": "float32", "random_state": 3}
    one = AutoRec(**parameters).fit(shards, comm=ThreadCommunicator(), slices=2)
    trained = AutoRec.load(tmp_path / "m")
    np.testing.assert_array_equal(trained.encoder_weights_, one.encoder_weights_)
    np.testing.assert_array_equal(trained.codes_, one.codes_)


def test_what_ray_could_not_train_is_refused_before_it_starts(tmp_path):
    write_ratings(RATINGS, tmp_path / "r.parquet")
    shards = shard(tmp_path / "r.parquet", tmp_path / "shards", buckets=2).path
    with pytest.raises(
        TypeError, match="model must be an AutoRec, a MultDAE or a MultVAE, but it is a"
    ):
        fit(BiasedMF(), tmp_path, tmp_path / "m", workers=2)
    with pytest.raises(ValueError, match="every must be a number of epochs, at least 1, or a time"):
        fit(AutoRec(), shards, tmp_path / "m", workers=2, checkpoint=tmp_path / "c", every="1 min")
    with pytest.raises(FileNotFoundError, match="must be a folder that isthmus shard wrote"):
        fit(AutoRec(), tmp_path, tmp_path / "m", workers=2)
