import json
import os
import pickle
import shutil
import stat
import sys

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from isthmus import (
    AutoRec,
    MultDAE,
    Ratings,
    Recommender,
    synthetic_ratings,
    train_test_split,
)
from isthmus.persistence import FORMAT_VERSION


@pytest.fixture(scope="module")
def model():
    made = synthetic_ratings(20, 15, 100, random_state=0)
    ratings = Ratings.from_matrix(
        made.to_matrix(), user_ids=range(10, 30), item_ids=[f"füm {item}" for item in range(15)]
    )
    return AutoRec(hidden_units=(4, 3), epochs=2, random_state=0).fit(ratings)


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "whole.safetensors"
    model.save(path)
    return path


@pytest.fixture
def path(whole, tmp_path):
    return shutil.copy(whole, tmp_path / "model.safetensors")


def rewrite(path, *, drop=(), metadata=None, **tensors):
    """Write a file anew with some things changed."""
    with safe_open(path, framework="numpy") as file:
        about = {**json.loads(file.metadata()["isthmus"]), **(metadata or {})}
    arrays = {**load_file(path), **{k.replace("__", "."): v for k, v in tensors.items()}}
    for name in drop:
        arrays.pop(name, None)
        about.pop(name, None)
    save_file(arrays, path, metadata={"isthmus": json.dumps(about)})


class TestFile:
    def test_says_what_it_is(self, whole):
        with safe_open(whole, framework="numpy") as file:
            about = json.loads(file.metadata()["isthmus"])
        assert about["format_version"] == FORMAT_VERSION
        assert about["model"] == "AutoRec"
        assert about["parameters"]["hidden_units"] == [4, 3]

    def test_is_the_same_to_the_byte_each_time(self, model, tmp_path):
        model.save(tmp_path / "a")
        model.save(tmp_path / "b")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_keeps_what_the_arrays_depend_on_as_it_was_in_fit(self, model, tmp_path):
        changed = pickle.loads(pickle.dumps(model))
        changed.set_params(hidden_units=(9,), orientation="user", epochs=7)
        users, items = model.user_ids_[:5], model.item_ids_[:5]
        np.testing.assert_array_equal(changed.predict(users, items), model.predict(users, items))
        changed.save(tmp_path / "model")
        loaded = Recommender.load(tmp_path / "model")
        assert (loaded.hidden_units, loaded.orientation) == (model.hidden_units, model.orientation)
        assert loaded.epochs == 7

    def test_keeps_the_course_of_training(self, tmp_path):
        train, held_out = train_test_split(
            synthetic_ratings(20, 15, 100, random_state=0), random_state=0
        )
        for model, metric in ((AutoRec(epochs=2), "rmse"), (MultDAE(epochs=2), "ndcg@10")):
            model.fit(train, validation=held_out).partial_fit(train)
            assert [list(epoch.metrics) for epoch in model.history_] == [[metric], [metric], []]
            model.save(tmp_path / "model")
            assert Recommender.load(tmp_path / "model").history_ == model.history_

    def test_keeps_ids_that_are_strings_of_any_language(self, model, path):
        ids = Recommender.load(path).item_ids_
        assert ids.dtype.kind == "U"
        np.testing.assert_array_equal(ids, model.item_ids_)

    def test_keeps_parameters_of_numpy_types(self, model, tmp_path):
        ratings = synthetic_ratings(20, 15, 100, random_state=0)
        AutoRec(
            hidden_units=np.array([3, 2]),
            epochs=np.int64(1),
            regularization=np.float32(0.5),
            random_state=np.random.default_rng(0),
        ).fit(ratings).save(tmp_path / "model")
        loaded = AutoRec.load(tmp_path / "model")
        assert loaded.hidden_units == (3, 2)
        assert loaded.epochs == 1
        assert loaded.regularization == 0.5
        assert loaded.random_state is None  # a generator has no lasting form

    @pytest.mark.skipif(os.name == "nt", reason="needs POSIX permissions")
    def test_may_be_read_by_whom_the_umask_lets(self, model, tmp_path):
        before = os.umask(0o027)
        try:
            model.save(tmp_path / "model")
        finally:
            os.umask(before)
        assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o640

    def test_is_replaced_as_a_whole_and_keeps_its_permissions(self, model, path):
        os.chmod(path, 0o640)
        before = os.stat(path).st_ino
        model.save(path)
        assert os.stat(path).st_ino != before
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o640
        assert os.listdir(path.parent) == [path.name]

    def test_stays_as_it_was_where_writing_fails(self, model, path, monkeypatch):
        def fail(tensors, file, metadata):
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        before = path.read_bytes()
        monkeypatch.setattr("isthmus.persistence.save_file", fail)
        with pytest.raises(OSError, match="No space left"):
            model.save(path)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    @pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
    def test_takes_the_place_of_files_alone(self, model, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match=r"pipe cannot be written: it is a device, or a pipe"):
            model.save(tmp_path / "pipe")
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
        assert [path.name for path in tmp_path.iterdir()] == ["pipe"]

    def test_needs_no_pickle(self, path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pickle", None)
        Recommender.load(path)


class TestRefused:
    @pytest.mark.parametrize("share", [0.0, 0.001, 0.2, 0.5, 0.9, 0.999])
    def test_truncated(self, path, share):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ValueError, match=r"model\.safetensors is .*(damaged|no model file)"):
            Recommender.load(path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (
                {"metadata": {"format_version": 1}},
                r"has format version 1, and this isthmus reads version 2: use the isthmus that",
            ),
            ({"metadata": {"model": "Oracle"}}, "is damaged: .*unknown kind 'Oracle'"),
            ({"metadata": {"parameters": [1]}}, "is damaged"),
            ({"metadata": {"parameters": {"colour": 1}}}, "is damaged: .*colour"),
            ({"metadata": {"parameters": {"hidden_units": [9, 3]}}}, "is damaged: .*shape"),
            ({"drop": ["parameters"]}, "is damaged"),
            ({"drop": ["seen.indptr"]}, "is damaged"),
            ({"drop": ["model.decoder.weights"]}, "is damaged"),
            ({"drop": ["items.ids.ends"]}, "is damaged"),
            ({"seen__indptr": np.zeros(3, np.int64)}, r"is damaged: seen\.indptr must have shape"),
            ({"seen__indices": np.full(100, 99, np.int32)}, r"is damaged: seen\.indices must lie"),
            ({"users__ids": np.zeros(20, np.int64)}, "is damaged: user_ids must be unique"),
            ({"users__ids": np.arange(19)}, "is damaged"),
            ({"range": np.zeros(3)}, "is damaged"),
            ({"range": np.array([5.0, 1.0])}, "is damaged: its ratings lie between 5.0 and 1.0"),
            ({"metadata": {"parameters": {"epochs": -1}}}, "is damaged: epochs must be"),
            (
                {"model__encoder__weights": np.zeros((20, 5), np.float32)},
                r"is damaged: encoder\.weights has shape \(20, 5\)",
            ),
            ({"model__history__rmse": np.zeros(3)}, "is damaged"),
            ({"model__codes": np.zeros((14, 3), np.float32)}, "is damaged: codes"),
            ({"model__codes": np.zeros((15, 2), np.float32)}, "is damaged: codes"),
            ({"model__codes": np.zeros(15, np.float32)}, "is damaged"),
            ({"model__row_offset": np.zeros(3, np.float32)}, "is damaged: row_offset"),
            ({"model__users_trained": np.ones(3, np.bool_)}, "is damaged: users_trained"),
            (
                {"model__decoder__weights": np.full((20, 3), np.nan, np.float32)},
                "is damaged: .*finite",
            ),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_changed(self, path, changes, message):
        rewrite(path, **changes)
        with pytest.raises(ValueError, match=r"model\.safetensors " + message):
            Recommender.load(path)

    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ("[]", r"its metadata is no JSON object, but \[\]\."),
            ("null", r"its metadata is no JSON object, but None\."),
            ("{", r"its metadata is no JSON: Expecting"),
        ],
    )
    def test_without_a_description(self, path, metadata, message):
        save_file(load_file(path), path, metadata={"isthmus": metadata})
        with pytest.raises(ValueError, match=rf"model\.safetensors is damaged: {message}"):
            Recommender.load(path)

    @pytest.mark.parametrize("content", [b"user,item\n1,2\n", b"\x80\x04K\x01.", b"PK\x03\x04"])
    def test_foreign(self, tmp_path, content):
        (tmp_path / "model").write_bytes(content * 10)
        with pytest.raises(ValueError, match="model is no model file, or a damaged one"):
            AutoRec.load(tmp_path / "model")

    def test_safetensors_of_another_program(self, tmp_path):
        save_file({"weights": np.zeros(3)}, tmp_path / "model")
        with pytest.raises(ValueError, match="is no model file of isthmus"):
            AutoRec.load(tmp_path / "model")

    def test_missing_and_folders(self, model, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
            AutoRec.load(tmp_path / "nowhere")
        with pytest.raises(IsADirectoryError, match="is a folder, not a model file"):
            AutoRec.load(tmp_path)
        with pytest.raises(IsADirectoryError):
            model.save(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere is missing"):
            model.save(tmp_path / "nowhere" / "model")

    def test_a_model_of_another_class(self, path):
        class Other(AutoRec):
            pass

        del Recommender._models["Other"]
        with pytest.raises(ValueError, match="holds a AutoRec, not a Other"):
            Other.load(path)
