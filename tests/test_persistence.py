import json
import os
import pickle
import shutil
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy import sparse

from isthmus import (
    CVAE,
    RBM,
    AutoRec,
    BiasedMF,
    DualAutoRec,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
    synthetic_ratings,
    train_test_split,
)
from isthmus.models._files import FORMAT_VERSION, _checksum

DATA = Path(__file__).parent / "data"


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


def description(path):
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["isthmus"])


def peak_memory():
    """Return the most bytes that the process has had in memory."""
    resource = pytest.importorskip("resource", reason="measured by POSIX")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rewrite(path, *, drop=(), metadata=None, checksum=True, **tensors):
    """Write a file anew with some things changed, and with the checksum of what it then holds."""
    about = {**description(path), **(metadata or {})}
    arrays = {**load_file(path), **{k.replace("__", "."): v for k, v in tensors.items()}}
    for name in drop:
        arrays.pop(name, None)
        about.pop(name, None)
    if checksum and "checksum" in about:
        del about["checksum"]
        about["checksum"] = _checksum(about, arrays)
    save_file(arrays, path, metadata={"isthmus": json.dumps(about)})


class TestFile:
    def test_of_bfloat16_holds_weights_rounded_to_the_nearest_half(self, model, tmp_path):
        model.save(tmp_path / "half", precision="bfloat16")
        again = AutoRec.load(tmp_path / "half")
        for name, array in model._tensors().items():
            rounded = again._tensors()[name]
            if array.dtype == np.float32 and array.ndim == 2 and len(array) > 1:
                assert 0 < np.abs(rounded - array).max() <= 2.0**-8 * np.abs(array).max()
                assert not (rounded.view(np.uint32) & 0xFFFF).any()
            else:
                np.testing.assert_array_equal(rounded, array)

    def test_of_bfloat16_has_half_the_size(self, tmp_path):
        large = synthetic_ratings(300, 200, 2000, random_state=0)
        model = BiasedMF(factors=128, epochs=1, random_state=0).fit(large)
        sizes = []
        for precision in ("float32", "bfloat16"):
            model.save(tmp_path / precision, precision=precision)
            sizes.append((tmp_path / precision).stat().st_size)
        assert sizes[1] < 0.6 * sizes[0]

    def test_has_one_of_two_precisions(self, model, tmp_path):
        message = r"^precision must be one of 'float32', 'bfloat16', but it was 'half'\.$"
        with pytest.raises(ValueError, match=message):
            model.save(tmp_path / "model", precision="half")
        assert not list(tmp_path.iterdir())

    def test_says_what_it_is(self, whole):
        about = description(whole)
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
        assert (loaded.epochs, loaded.get_params()) == (model.epochs, model.get_params())

    def test_a_subclass_and_a_list_that_changed_are_saved(self, tmp_path):
        class Own(RBM):
            pass

        ratings = synthetic_ratings(20, 15, 100, random_state=0)
        units = [6]
        try:
            for model in (Own(epochs=1), MultVAE(hidden_units=units, epochs=1)):
                model.fit(ratings)
                units.append(4)
                model.save(tmp_path / "model")
                assert type(Recommender.load(tmp_path / "model")) is type(model)
        finally:
            del Recommender._models["Own"]

    def test_partial_fit_refuses_what_does_not_go_with_the_fitted_structure(self):
        ratings = synthetic_ratings(20, 15, 100, random_state=0)
        model = AutoRec(hidden_units=(5,), epochs=1, random_state=0).fit(ratings)
        model.set_params(hidden_units=(5, 3, 5), pretraining_epochs=1)
        with pytest.raises(ValueError, match=r"hidden_units must be an odd number .* was \(5,\)"):
            model.partial_fit(ratings)

    def test_folds_in_with_the_parameters_of_training(self, tmp_path):
        ratings = synthetic_ratings(20, 15, 100, random_state=0)
        new = sparse.random(1, 15, 0.4, format="csr", random_state=0)
        for model in (AutoRec(epochs=2), BiasedMF(epochs=2), CVAE(epochs=2)):
            model.fit(ratings)
            expected = model.recommend(ratings=new, n=5)
            model.set_params(**dict.fromkeys(("regularization", "epochs"), "x"))
            if isinstance(model, CVAE):
                model.set_params(positive_weight=-1, user_regularization=np.inf)
            model.save(tmp_path / "model")
            for one in (model, Recommender.load(tmp_path / "model")):
                np.testing.assert_array_equal(one.recommend(ratings=new, n=5), expected)

    @pytest.mark.parametrize("axis", ["user", "item"])
    @pytest.mark.parametrize("kind", [AutoRec, DualAutoRec, BiasedMF])
    def test_takes_in_what_is_new_beside_the_mean_of_its_biases(self, kind, axis, tmp_path):
        model = kind(epochs=2).fit(synthetic_ratings(20, 15, 100, random_state=0))
        model.save(tmp_path / "model")
        shape = (1, 15) if axis == "user" else (20, 1)
        new = sparse.random(*shape, 0.4, format="csr", random_state=0)
        one, other = (
            made.fold_in(new, axis=axis).predict(made.user_ids_[:, np.newaxis], made.item_ids_)
            for made in (model, Recommender.load(tmp_path / "model"))
        )
        np.testing.assert_array_equal(one, other)

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

    @pytest.mark.parametrize("size", [0, 100, 3000])
    def test_stays_as_it_was_where_the_disk_is_full(self, model, path, largest_file, size):
        before = path.read_bytes()
        with (
            pytest.raises(OSError, match=r"File too large: .*model\.safetensors'"),
            largest_file(size),
        ):
            model.save(path)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"clip": -1}, "this AutoRec cannot be saved: clip must be True or False"),
            ({"_users_trained": np.ones(3, np.bool_)}, "cannot be saved: users_trained has shape"),
            ({"_mean": np.nan}, "cannot be saved: mean must be finite"),
        ],
    )
    def test_is_not_replaced_by_one_that_could_not_be_read(self, model, path, changes, message):
        before = path.read_bytes()
        changed = pickle.loads(pickle.dumps(model))
        vars(changed).update(changes)
        with pytest.raises(ValueError, match=message):
            changed.save(path)
        assert path.read_bytes() == before
        assert os.listdir(path.parent) == [path.name]

    @pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
    def test_takes_the_place_of_files_alone(self, model, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(OSError, match=r"pipe cannot be written: it is a device, or a pipe"):
            model.save(tmp_path / "pipe")
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
        assert [path.name for path in tmp_path.iterdir()] == ["pipe"]

    @pytest.mark.skipif(os.name == "nt", reason="names are shorter")
    def test_may_have_the_longest_of_names(self, model, tmp_path):
        path = tmp_path / ("n" * 255)
        model.save(path)
        assert [file.name for file in tmp_path.iterdir()] == [path.name]
        Recommender.load(path)

    def test_is_one_of_safetensors_with_every_tensor_aligned(self, whole):
        content = whole.read_bytes()
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        assert size % 8 == 0
        for name, array in load_file(whole).items():
            assert header[name]["data_offsets"][0] % array.itemsize == 0

    def test_keeps_undefined_metrics(self, model, tmp_path):
        measured = pickle.loads(pickle.dumps(model))
        measured.history_[0].metrics["rmse"] = np.nan
        measured.save(tmp_path / "model")
        assert np.isnan(Recommender.load(tmp_path / "model").history_[0].metrics["rmse"])

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
                {"metadata": {"format_version": version}},
                rf"has format version {version!r}, and this isthmus reads versions 2 to 5: use the",
            )
            for version in (1, 6, True, "5", None)
        ],
    )
    def test_of_another_version(self, path, changes, message):
        rewrite(path, **changes)
        with pytest.raises(ValueError, match=r"model\.safetensors " + message):
            Recommender.load(path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"metadata": {"model": "Oracle"}}, "is damaged: .*unknown kind 'Oracle'"),
            ({"metadata": {"model": ["AutoRec"]}}, "is damaged: .*unknown kind"),
            ({"metadata": {"model": None}}, "is damaged: .*unknown kind None"),
            ({"metadata": {"more": 1}}, "is damaged: its metadata has the entries"),
            ({"metadata": {"parameters": [1]}}, r"is damaged: .* no JSON object, but \[1\]"),
            ({"metadata": {"parameters": {"orientation": {}}}}, "is damaged: orientation must be"),
            ({"metadata": {"parameters": {"random_state": "x"}}}, "is damaged: random_state must"),
            ({"metadata": {"parameters": {"epochs": 1e400}}}, "is damaged: epochs must be an int"),
            (
                {"metadata": {"parameters": {"hidden_units": [4, 900_000]}}},
                r"is damaged: (encoder|hidden|decoder|codes|prior)\S* has shape",
            ),
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
            ({"users__ids": np.arange(20.0)}, r"is damaged: users\.ids is of type float64, but it"),
            ({"users__ids": np.arange(-1, 19)}, r"is damaged: users\.ids must be .*none below 0"),
            ({"users__ids": np.zeros(0, np.int64)}, r"is damaged: users\.ids must be at least one"),
            ({"users__ids": np.zeros((20, 1), np.int64)}, r"is damaged: users\.ids has shape"),
            (
                {"items__ids__ends": np.arange(15)[::-1].copy()},
                r"is damaged: items\.ids\.ends must rise from above 0 to the number of bytes",
            ),
            (
                {"items__ids__ends": np.arange(1, 16) * 2**59},
                r"is damaged: items\.ids\.ends must rise",
            ),
            (
                {"items__ids__bytes": np.full(95 + 15, 255, np.uint8)},
                r"is damaged: items\.ids\.(bytes is no UTF-8|ends must rise)",
            ),
            ({"other": np.zeros(3)}, "is damaged: it has a tensor 'other', which the model"),
            ({"model__other": np.zeros(3)}, "is damaged: it has a tensor 'other', which the model"),
            ({"seen__indices": np.zeros(100)}, r"is damaged: seen\.indices is of type float64"),
            (
                {"seen__indices": np.zeros(100, np.int32)},
                r"is damaged: seen\.indices must increase in every row",
            ),
            (
                {"model__users_trained": np.ones(20, np.uint8)},
                "is damaged: users_trained is of type uint8, but it must be bool",
            ),
            (
                {"model__decoder__weights": np.ones((20, 3), np.int32)},
                r"is damaged: decoder\.weights is of type int32, but it must be float32",
            ),
            (
                {"model__codes": np.ones((15, 3), np.float16)},
                r"is damaged: model\.codes is of type F16, which no model has",
            ),
            ({"model__mean": np.array([1e300])}, "is damaged: mean must be finite in float32"),
            (
                {"model__prior__level_penalty": np.array([-1.0])},
                r"is damaged: prior\.level_penalty",
            ),
            ({"model__seed": np.zeros(0, np.uint64)}, "is damaged: seed has shape"),
            ({"model__history": np.full((2, 2), np.inf)}, "is damaged: history must be finite"),
            (
                {"model__history__rmse": np.array([[2.0, 1.0]])},
                r"is damaged: history\.rmse must be of epochs from 0 to 1, in their order",
            ),
            (
                {"model__history__rmse": np.array([[0.0, 1.0], [0.0, 1.0]])},
                r"is damaged: history\.rmse must be of epochs",
            ),
            (
                {"model__history__rmse": np.array([[np.nan, 1.0]])},
                r"is damaged: history\.rmse must be of epochs",
            ),
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
            ("[" * 100_000, r"its metadata is no JSON: maximum recursion depth"),
            ("1" * 5_000, r"its metadata is no JSON: Exceeds the limit"),
        ],
    )
    def test_without_a_description(self, path, metadata, message):
        save_file(load_file(path), path, metadata={"isthmus": metadata})
        with pytest.raises(ValueError, match=rf"model\.safetensors is damaged: {message}"):
            Recommender.load(path)

    def test_with_any_bit_flipped(self, path):
        content = bytearray(path.read_bytes())
        rng = np.random.default_rng(0)
        for place in range(len(content)):
            flipped = 1 << int(rng.integers(8))
            content[place] ^= flipped
            path.write_bytes(content)
            with pytest.raises(ValueError, match=r"model\.safetensors (is|has format)"):
                Recommender.load(path)
            content[place] ^= flipped
        path.write_bytes(content)
        Recommender.load(path)

    def test_with_another_checksum(self, path):
        rewrite(path, model__seed=np.ones(1, np.uint64), checksum=False)
        with pytest.raises(ValueError, match="is damaged: its checksum does not match its content"):
            Recommender.load(path)
        rewrite(path, drop=["checksum"], checksum=False)
        with pytest.raises(ValueError, match="is damaged: its checksum does not match its content"):
            Recommender.load(path)

    @pytest.mark.parametrize("units", [300_000, 1_000_000])
    def test_without_memory_for_what_it_says_that_it_holds(self, path, units):
        rewrite(path, metadata={"parameters": {"hidden_units": [units, 3]}})
        before = peak_memory()
        with pytest.raises(ValueError, match=r"is damaged: .* has shape"):
            Recommender.load(path)
        assert peak_memory() - before < 16 << 20

    def test_without_memory_for_ids_that_become_long(self, path):
        ends = np.array([10**6, *range(10**6 + 1, 10**6 + 1000)])
        text = np.full(ends[-1], ord("a"), np.uint8)
        rewrite(path, items__ids__ends=ends, items__ids__bytes=text)
        before = peak_memory()
        with pytest.raises(ValueError, match=r"items\.ids has one of 1,000,000 bytes, too long"):
            Recommender.load(path)
        assert peak_memory() - before < 64 << 20

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
        if os.name != "nt":
            os.mkfifo(tmp_path / "pipe")
            with pytest.raises(OSError, match="is a device, or a pipe, and no model file"):
                AutoRec.load(tmp_path / "pipe")
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


@pytest.fixture(scope="module")
def dual(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "dual.safetensors"
    ratings = synthetic_ratings(20, 15, 100, random_state=0)
    DualAutoRec(hidden_units=(4, 3), epochs=2, random_state=0).fit(ratings).save(path)
    return path


class TestDamagedDualAutoRec:
    """What a whole file may hold, by its checksum, and no training gives."""

    @pytest.fixture
    def path(self, dual, tmp_path):
        return shutil.copy(dual, tmp_path / "model.safetensors")

    def test_is_not_refused_as_it_is(self, path):
        rewrite(path)
        assert isinstance(Recommender.load(path), DualAutoRec)

    @pytest.mark.parametrize("side", ["item", "user"])
    @pytest.mark.parametrize(
        ("place", "value", "message"),
        [
            (0, np.nan, "reading must be finite"),
            (0, 1e300, "reading must be finite in float32"),
            (1, 0.0, "reading must hold a factor from 8.95e-16 to 1.12e"),
            (1, -1.0, "reading must hold a factor from 8.95e-16 to 1.12e"),
            (1, np.nan, "reading must be finite"),
            (1, np.inf, "reading must be finite"),
            (2, 0.0, "reading must hold .* a typical row of 1"),
            (2, 1e-300, "reading must hold .* a typical row of 1"),
            (2, 1e10, "reading must hold .* a typical row of 1"),
            (3, -1e-9, "reading must hold .* a regularization of at least 0"),
            (3, np.nan, "reading must be finite"),
        ],
    )
    def test_is_refused_with_a_reading_that_no_training_gives(
        self, path, side, place, value, message
    ):
        name = f"model.{side}.reading"
        reading = load_file(path)[name]
        reading[place] = value
        rewrite(path, **{name: reading})
        with pytest.raises(ValueError, match=rf"model\.safetensors is damaged: .*{message}"):
            Recommender.load(path)

    @pytest.mark.parametrize("side", ["item", "user"])
    def test_is_refused_with_a_prior_that_no_training_gives(self, path, side):
        rewrite(path, **{f"model.{side}.prior.level_penalty": np.array([-1.0])})
        with pytest.raises(ValueError, match=r"is damaged: .*prior\.level_penalty must be"):
            Recommender.load(path)

    @pytest.mark.parametrize("side", ["item", "user"])
    def test_is_refused_with_dampings_that_no_training_gives(self, path, side):
        rewrite(path, **{f"model.{side}.dampings": np.array([5.0, 0.0])})
        with pytest.raises(ValueError, match=r"is damaged: .*dampings must be above 0"):
            Recommender.load(path)

    def test_of_format_4_had_fixed_dampings(self, path):
        names = [f"model.{side}.dampings" for side in ("item", "user")]
        rewrite(path, drop=names, metadata={"format_version": 4})
        parts = DualAutoRec.load(path)._parts
        assert parts["item"].reader.dampings == (4, 8)
        assert parts["user"].reader.dampings == (8, 4)

    def test_is_refused_without_any_of_its_tensors(self, dual, tmp_path):
        names = [name for name in load_file(dual) if name.startswith("model.")]
        assert {f"model.{side}.column_offset" for side in ("item", "user")} <= set(names)
        for name in names:
            rewrite(shutil.copy(dual, tmp_path / "model"), drop=[name])
            with pytest.raises(ValueError, match="is damaged: it has no tensor") as caught:
                Recommender.load(tmp_path / "model")
            assert name.removeprefix("model.") in str(caught.value)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model__item__codes": np.zeros((20, 3), np.float32)}, "item.codes has shape"),
            ({"model__user__codes": np.zeros((15, 3), np.float32)}, "user.codes has shape"),
            ({"model__item__reading": np.ones(3)}, "item.reading has shape"),
            ({"model__item__reading": np.ones(4, np.float32)}, "item.reading is of type float32"),
            ({"model__item__row_offset": np.zeros(20, np.float32)}, "item.row_offset has shape"),
            (
                {"model__user__column_offset": np.full(15, np.nan, np.float32)},
                "user.column_offset must be finite",
            ),
            ({"model__other__codes": np.zeros(3)}, "it has a tensor 'other.codes'"),
            ({"metadata": {"model": "AutoRec"}}, "it has no tensor codes"),
        ],
        ids=lambda value: str(value)[:60],
    )
    def test_is_refused_with_other_tensors(self, path, changes, message):
        rewrite(path, **changes)
        with pytest.raises(ValueError, match=rf"is damaged: .*{message}"):
            Recommender.load(path)

    @pytest.mark.parametrize("name", ["orientation", "target_centering", "rating_scale"])
    def test_is_refused_with_a_parameter_of_autorec_alone(self, path, name):
        parameters = {**description(path)["parameters"], name: "item"}
        rewrite(path, metadata={"parameters": parameters})
        with pytest.raises(ValueError, match=f"is damaged: DualAutoRec has no parameter '{name}'"):
            Recommender.load(path)


FORMATS = [
    pytest.param(path, id=f"{path.parent.name}-{path.stem}")
    for path in sorted(DATA.glob("format_*/*.safetensors"))
    if "conditional" not in path.stem
]


OF_AUTOREC = [
    path
    for path in FORMATS
    # since format 4, files say how ratings are read
    if path.values[0].stem.startswith("AutoRec") and path.values[0].parent.name < "format_4"
]


class TestFormats:
    """Files that earlier versions left behind."""

    def test_are_of_every_class_but_what_came_later(self):
        names = {path.values[0].stem.partition("-")[0] for path in FORMATS}
        assert names == {
            *("AutoRec", "BiasedMF", "Blend", "CDAE", "CVAE"),
            *("EASE", "MultDAE", "MultVAE", "RBM"),
        }

    def test_are_refused_with_a_parameter_that_went(self):
        path = DATA / "format_2" / "RBM-conditional.safetensors"
        message = "RBM has no parameter conditional any more, but it is True there"
        with pytest.raises(ValueError, match=rf"{path.name} cannot be read: {message}\."):
            Recommender.load(path)

    @pytest.mark.parametrize("path", FORMATS)
    def test_predict_what_they_did(self, path):
        expected = json.loads((path.parent / "expected.json").read_text())[path.stem]
        model = Recommender.load(path)
        users, items = np.array(expected["users"]), np.array(expected["items"])
        predictions = model.predict(users[:, np.newaxis], items)
        np.testing.assert_allclose(predictions, expected["predictions"], rtol=1e-5, atol=1e-5)
        # what models of ratings ranked by when these were written
        by_rating = model._rates and path.parent.name < "format_4"
        lists, _ = model.recommend(users, n=3, order="rating" if by_rating else "likely")
        for found, wanted in zip(lists.tolist(), expected["recommended"], strict=True):
            assert wanted in (None, found)
        metrics = [epoch.metrics for epoch in getattr(model, "history_", [])]
        assert metrics == expected["history"]

    @pytest.mark.parametrize(("name", "dampings"), [("item", (4, 8)), ("user", (8, 4))])
    def test_of_autorec_keep_the_dampings_of_then(self, name, dampings):
        model = AutoRec.load(DATA / "format_4" / f"AutoRec-{name}.safetensors")
        assert model._reader.dampings == dampings

    @pytest.mark.parametrize("path", OF_AUTOREC)
    def test_of_autorec_read_ratings_as_they_did(self, path, tmp_path):
        model = AutoRec.load(path)
        assert model.rating_scale == "raw"
        assert model.row_scaling == 0
        assert model.learning_rate_schedule == "exponential"
        assert model.target_centering != "biases"
        about = description(path)
        assert model.regularization_ == about["parameters"]["regularization"]
        assert model.encoder_activation == about["parameters"]["encoder_activation"]
        # what is new is taken in, and what is known trained on, without a scale of ratings' own
        n_users, n_items = len(model.user_ids_), len(model.item_ids_)
        new = sparse.random(3, n_items, 0.3, format="csr", random_state=0)
        new.data[:] = 1 + np.arange(new.nnz) % 5
        expected = model.recommend(ratings=new, n=5)
        before = model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)
        model.save(tmp_path / "model")
        model = AutoRec.load(tmp_path / "model")
        for found, wanted in zip(model.recommend(ratings=new, n=5), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        indptr, indices = model._seen.indptr, model._seen.indices
        values = (1 + np.arange(len(indices)) % 5).astype(np.float32)
        ratings = sparse.csr_array((values, indices, indptr), shape=(n_users, n_items))
        model.partial_fit(ratings)
        reader = model._reader
        assert (reader.zero, reader.factor, reader.typical_row) == (0, 1, 1)
        after = model.predict(model.user_ids_[:, np.newaxis], model.item_ids_)
        assert np.isfinite(after).all()
        assert (after != before).any()

    @pytest.mark.parametrize("path", FORMATS)
    def test_are_written_anew_in_this_format(self, path, tmp_path):
        model = Recommender.load(path)
        model.save(tmp_path / "model")
        assert description(tmp_path / "model")["format_version"] == FORMAT_VERSION
        again = Recommender.load(tmp_path / "model")
        users, items = model.user_ids_[:, np.newaxis], model.item_ids_
        np.testing.assert_array_equal(again.predict(users, items), model.predict(users, items))

    @pytest.mark.parametrize("path", FORMATS)
    def test_are_refused_without_any_of_their_tensors(self, path, tmp_path):
        shutil.copy(path, tmp_path / "model")
        for name in load_file(path):
            if ".history." in name:  # of data that not every model was validated on
                continue
            shutil.copy(path, tmp_path / "model")
            rewrite(tmp_path / "model", drop=[name])
            with pytest.raises(ValueError, match="is damaged: "):
                Recommender.load(tmp_path / "model")
