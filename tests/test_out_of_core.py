"""Training on shards: the bits of a fit in memory, without the ratings there, and nothing left."""

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isthmus import (
    CDAE,
    AutoRec,
    BiasedMF,
    DualAutoRec,
    MultVAE,
    Ratings,
    Recommender,
    Shards,
    shard,
    synthetic_ratings,
    write_ratings,
)
from isthmus.data import _scratch, shards
from isthmus.data.ratings import CSR
from isthmus.models._rating_model import deviation_of

RATINGS = synthetic_ratings(60, 40, 900, random_state=0)
VALIDATION = Ratings.from_arrays([0, 7, 7, 31], [3, 5, 9, 11], [4.0, 2, 5, 1])

SHORT = {"epochs": 3, "random_state": 0}
MODELS = [
    AutoRec(hidden_units=(6,), **SHORT),
    AutoRec(hidden_units=(6,), patience=1, **SHORT),
    AutoRec(hidden_units=(6,), target_centering="row", batch_size=16, **SHORT),
    AutoRec(orientation="user", hidden_units=(6,), **SHORT),
    AutoRec.paper(hidden_units=(6,), optimizer="lbfgs", **SHORT),
    DualAutoRec(hidden_units=(6,), **SHORT),
    BiasedMF(factors=4, **SHORT),
    MultVAE(hidden_units=(5,), latent_units=4, decoder_units=None, **SHORT),
    CDAE(hidden_units=6, **SHORT),
]


@pytest.fixture(params=["user", "item"])
def folder(request, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "_CELLS_AT_ONCE", 50)
    write_ratings(RATINGS, tmp_path / "r.parquet")
    shard(tmp_path / "r.parquet", tmp_path / "shards", buckets=7, axis=request.param)
    return tmp_path / "shards"


def is_mapped(array):
    """Return whether an array is a view of a memory map."""
    while isinstance(array, np.ndarray):
        array = array.base
    return not isinstance(array, bytes | type(None)) and "mmap" in repr(
        getattr(array, "obj", array)
    )


def assert_same(one, other):
    first, second = one._tensors(), other._tensors()
    assert first.keys() == second.keys()
    for name, array in first.items():
        if name == "history":  # seconds and loss
            array, second[name] = array[:, 1], second[name][:, 1]
        np.testing.assert_array_equal(array, second[name], err_msg=name)
    np.testing.assert_array_equal(one._seen.indptr, other._seen.indptr)
    np.testing.assert_array_equal(one._seen.indices, other._seen.indices)
    assert one.receipt_.data == other.receipt_.data
    assert one.receipt_.validation == other.receipt_.validation


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_training_gives_the_bits_of_a_fit_in_memory(folder, model):
    validation = VALIDATION if getattr(model, "patience", None) else None
    again = type(model)(**model.get_params())
    held = again.fit(Shards(folder).to_ratings(), validation=validation)
    before = sorted(os.listdir(folder))
    model = type(model)(**model.get_params()).fit(Shards(folder), validation=validation)
    assert_same(model, held)
    assert sorted(os.listdir(folder)) == before
    model.partial_fit(Shards(folder), validation=validation)
    assert_same(model, held.partial_fit(Shards(folder).to_ratings(), validation=validation))


def test_what_is_as_long_as_the_ratings_is_mapped(folder):
    ratings = Shards(folder).to_ratings(mmap=True)
    for array in (ratings.indices, ratings.values, *ratings.rows("item")[1:3]):
        assert is_mapped(array)
        assert len(array) == 900
    assert not is_mapped(Shards(folder).to_ratings().values)
    model = AutoRec(hidden_units=(3,), epochs=1).fit(Shards(folder))
    assert is_mapped(model._seen.indices)
    learner = model._learner(ratings)
    assert is_mapped(learner.matrix.values)


def test_both_orientations_are_those_in_memory(folder):
    held, mapped = (Shards(folder).to_ratings(mmap=mmap) for mmap in (False, True))
    for orientation in ("user", "item"):
        for one, other in zip(mapped.rows(orientation), held.rows(orientation), strict=True):
            np.testing.assert_array_equal(one, other)
    assert repr(mapped) == repr(held) == repr(RATINGS)


def test_a_model_outlives_the_shards(folder, tmp_path):
    held = AutoRec(hidden_units=(3,), **SHORT).fit(Shards(folder).to_ratings())
    model = AutoRec(hidden_units=(3,), **SHORT).fit(Shards(folder))
    for path in folder.iterdir():
        path.unlink()
    model.save(tmp_path / "m.safetensors")
    for same in (Recommender.load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(model))):
        assert_same(same, held)
        np.testing.assert_array_equal(same.recommend()[0], held.recommend()[0])


def test_a_share_to_validate_on_is_refused_before_anything_is_read(folder):
    model = AutoRec(hidden_units=(3,), validation_fraction=0.1, **SHORT)
    message = r"validation_fraction must be None for shards.*validation=.*to_ratings\(\)"
    opened = Shards(folder)
    (folder / "bucket-00000.safetensors").unlink()
    with pytest.raises(ValueError, match=message) as caught:
        model.fit(opened)
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="bucket-00000"):
        model.fit(opened, validation=VALIDATION)  # in whose place no share is held out


class TestScratch:
    def test_files_are_where_they_are_wanted(self, folder, tmp_path, monkeypatch):
        wanted = []
        made = _scratch.tempfile.TemporaryFile
        monkeypatch.setattr(
            _scratch.tempfile, "TemporaryFile", lambda dir: wanted.append(dir) or made(dir=dir)
        )
        (tmp_path / "scratch").mkdir()
        for scratch, expected in ((None, folder), (tmp_path / "scratch", tmp_path / "scratch")):
            wanted.clear()
            Shards(folder, scratch=scratch).to_ratings(mmap=True).rows("item")
            assert wanted == [expected] * 4
            assert not list((tmp_path / "scratch").iterdir())

    def test_a_full_disk_is_an_error_in_one_sentence(self, folder, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(_scratch.os, "posix_fallocate", full, raising=False)
        held = AutoRec(hidden_units=(3,), **SHORT).fit(RATINGS)
        before = sorted(os.listdir(folder))
        with pytest.raises(
            OSError, match=r"3\.516 KiB must be written to a temporary file"
        ) as caught:
            held.fit(Shards(folder))
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == str(folder)
        assert held.predict(0, 0)  # which it was before
        assert sorted(os.listdir(folder)) == before

    def test_a_missing_folder_is_an_error(self, folder, tmp_path):
        with pytest.raises(
            FileNotFoundError, match="must be written to a temporary file"
        ) as caught:
            Shards(folder, scratch=tmp_path / "absent").to_ratings(mmap=True)
        assert caught.value.filename == str(tmp_path / "absent")

    def test_room_is_taken_where_the_system_cannot_reserve_it(self, tmp_path, monkeypatch):
        monkeypatch.delattr(_scratch.os, "posix_fallocate", raising=False)
        array = _scratch.scratch_array(tmp_path, 300_001, np.int32)
        assert not array.any()
        array[-1] = 7
        assert (len(array), array[-1]) == (300_001, 7)

    @pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
    def test_a_killed_fit_leaves_nothing(self, folder):
        before = sorted(os.listdir(folder))
        program = (
            "import os, signal, sys\n"
            "from isthmus import AutoRec, Shards\n"
            "kill = lambda epoch: os.kill(os.getpid(), signal.SIGKILL)\n"
            "AutoRec(hidden_units=(3,)).fit(Shards(sys.argv[1]), callbacks=[kill])\n"
        )
        done = subprocess.run([sys.executable, "-c", program, str(folder)], check=False)
        assert done.returncode == -9
        assert sorted(os.listdir(folder)) == before


def test_deviation_is_numpys_to_the_bit_without_a_copy_in_double_precision():
    values = np.random.default_rng(0).normal(3, 1, 2_500_003).astype(np.float32)
    n = len(values)
    columns = np.arange(n, dtype=np.int32) % 100_000
    indptr = np.minimum(np.arange(27) * 100_000, n)
    ratings = Ratings(CSR(indptr, columns, values, (26, 100_000)))
    assert deviation_of(ratings) == np.std(values, dtype=np.float64)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_does_not_grow_with_the_ratings(tmp_path):
    """In a process of its own: 4 million ratings are 32 MB in memory, and 32 more by items."""
    write_ratings(
        synthetic_ratings(2_000, 4_000, 4_000_000, random_state=0), tmp_path / "r.parquet"
    )
    shard(tmp_path / "r.parquet", tmp_path / "shards", buckets=16)
    program = """
import sys, threading
from isthmus import AutoRec, Shards
from isthmus.data import shards
def anonymous():
    text = open("/proc/self/status").read()
    return int(text.partition("RssAnon:")[2].split()[0]) / 1024
X = Shards(sys.argv[1])
X = X if sys.argv[2] == "files" else X.to_ratings()
seen = []
before = anonymous()
model = AutoRec(hidden_units=(2,), epochs=1, batch_size=16, num_threads=1)
model.fit(X, callbacks=[lambda _: seen.append(anonymous())])
print(seen[0])
"""
    most = {
        how: float(
            subprocess.run(
                [sys.executable, "-c", program, str(tmp_path / "shards"), how],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for how in ("memory", "files")
    }
    assert most["memory"] - most["files"] > 50
