import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse
from sklearn.base import clone

import isthmus
from isthmus import (
    CDAE,
    CVAE,
    EASE,
    AutoRec,
    BiasedMF,
    Content,
    ConvergenceError,
    MultDAE,
    MultVAE,
    Ratings,
    Recommender,
    hold_out_users,
    read_ratings,
    synthetic_ratings,
    train_test_split,
    write_ratings,
)
from isthmus.cli import app, train
from isthmus.cli._options import Source, describe_parameters
from isthmus.cli.train import name_of
from isthmus.metrics import bias_baseline, mae, rmse

QUICK = ["--hidden-units", "6", "--epochs", "2", "--random-state", "0", "--num-threads", "1"]
PROGRAM = [sys.executable, "-m", "isthmus"]


def tensors_of(path):
    """Return what follows a model file's header, in which seconds have any number of digits."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")


@pytest.fixture
def ok(run):
    """Run the program, which must succeed, and give its output."""

    def ok(*args):
        code, out, err = run(*args)
        assert (code, err) == (0, "")
        return out

    return ok


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ratings, titles, and a model that was trained on the ratings."""
    folder = tmp_path_factory.mktemp("cli")
    made = synthetic_ratings(40, 30, 400, random_state=1)
    ratings = Ratings.from_matrix(
        made.to_matrix(), user_ids=np.arange(100, 140), item_ids=np.arange(500, 530)
    )
    write_ratings(ratings, folder / "ratings.csv")
    titles = [f'{item}::"Film" {item}, The::Drama' for item in ratings.item_ids]
    (folder / "movies.dat").write_text("\n".join(titles))
    model = AutoRec(hidden_units=(6,), epochs=2, random_state=0).fit(ratings)
    model.save(folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return AutoRec.load(folder / "model.safetensors")


@pytest.fixture(scope="module")
def strings(folder):
    """A model whose ids are strings, although some look like integers."""
    users, items = ["7", "ann", "bob"], ["42", "heat"]
    ratings = Ratings.from_arrays(users * 2, np.repeat(items, 3), [1, 2, 3, 4, 5, 2])
    AutoRec(hidden_units=(2,), epochs=1, random_state=0).fit(ratings).save(folder / "strings.st")
    return folder / "strings.st"


class TestShard:
    def test_shards_are_trained_from(self, run, ok, folder, tmp_path, model):
        out = ok(
            *("shard", folder / "ratings.csv", "--buckets", 3, "--axis", "item"),
            *("--output", tmp_path / "shards"),
        )
        assert re.fullmatch(
            rf"wrote {tmp_path / 'shards'} \(Shards\(40 users x 30 items, 400 ratings in \[1, 5\], "
            r"3 buckets of items\), [\d.]+ KiB\)\n",
            out,
        )
        code, _, err = run("train", tmp_path / "shards", "--implicit", "-o", tmp_path / "m.st")
        assert (code, err.count("\n")) == (1, 1)
        assert "must be given to shard, which wrote it" in err
        ok("train", tmp_path / "shards", *QUICK, "--output", tmp_path / "m.safetensors")
        again = Recommender.load(tmp_path / "m.safetensors")
        np.testing.assert_array_equal(again.recommend()[1], model.recommend()[1])
        options = ("--validation-fraction", 0.1, "--output", tmp_path / "v.safetensors")
        ok("train", tmp_path / "shards", *QUICK, *options)
        held_out = Recommender.load(tmp_path / "v.safetensors")
        ok("train", folder / "ratings.csv", *QUICK, *options)
        again = Recommender.load(tmp_path / "v.safetensors")
        np.testing.assert_array_equal(again.recommend()[1], held_out.recommend()[1])

    def test_temporary_files_are_where_they_are_wanted(self, run, ok, folder, tmp_path):
        ok("shard", folder / "ratings.csv", "--output", tmp_path / "shards")
        train = ("train", tmp_path / "shards", *QUICK, "-o", tmp_path / "m.st", "--scratch")
        ok(*train, tmp_path)
        code, _, err = run(*train, tmp_path / "absent")
        assert (code, err.count("\n")) == (1, 1)
        assert "must be written to a temporary file" in err
        assert str(tmp_path / "absent") in err
        code, _, err = run("train", folder / "ratings.csv", "-o", "m.st", "--scratch", tmp_path)
        assert code == 2
        assert "--scratch must come with shards" in " ".join(err.split())

    def test_refuses_in_one_line(self, run, folder, tmp_path):
        code, _, err = run("shard", folder / "ratings.csv", "--buckets", 0, "-o", tmp_path / "s")
        assert (code, err) == (
            1,
            "isthmus: error: buckets must be an integer from 1 to 65,536, but it was 0.\n",
        )


class TestTrain:
    def test_writes_the_model_that_fit_gives(self, ok, folder, tmp_path, model):
        out = ok("train", folder / "ratings.csv", *QUICK, "--output", tmp_path / "m.safetensors")
        again = Recommender.load(tmp_path / "m.safetensors")
        users, items, _, _ = read_ratings(folder / "ratings.csv").to_arrays()
        np.testing.assert_array_equal(again.predict(users, items), model.predict(users, items))
        lines = out.splitlines()
        assert lines[0].endswith("ratings.csv: 40 users x 30 items, 400 ratings from 1 to 5")
        assert lines[1].startswith("training AutoRec(hidden_units=(6,), epochs=2")
        assert re.fullmatch(r"2 epochs in [\d.]+ s, [\d.]+ million ratings/s", lines[2])
        assert re.fullmatch(r"wrote .*m\.safetensors \(0\.0 MB\)", lines[3])

    def test_measures_the_error_on_what_it_holds_out(self, ok, folder):
        args = ("train", folder / "ratings.csv", *QUICK, "--test-size")
        shares, numbers = ok(*args, "0.1"), ok(*args, "40")
        assert "40 of them are held out to test on" in shares
        assert re.search(r"^test RMSE 0\.\d{4}, MAE 0\.\d{4}$", shares, re.M)
        assert shares.splitlines()[-1] == numbers.splitlines()[-1]
        other = ok(*args, "0.1", "--split-seed", "1").splitlines()[-1]
        assert other != shares.splitlines()[-1]
        by_user = ok(*args, "0.1", "--split-by", "user")
        assert by_user.splitlines()[-1] != shares.splitlines()[-1]

    def test_validates_on_a_file(self, ok, folder):
        out = ok(
            *("train", folder / "ratings.csv", *QUICK, "--patience", "1", "--test-size", "0.1"),
            *("--validation", folder / "ratings.csv"),
        )
        assert re.search(r"ratings/s, best validation RMSE \d\.\d{4} in epoch [12]$", out, re.M)

    def test_passes_every_kind_of_parameter_on(self, ok, folder, tmp_path):
        ok(
            *("train", folder / "ratings.csv", "-o", tmp_path / "m", "--epochs", "1"),
            *("--orientation", "user", "--hidden-units", "5,3,5", "--regularization", "2.5"),
            *("--no-clip", "--default-rating", "3", "--validation-fraction", "0.2"),
            *("--corruption-kind", "gaussian", "--encoder-activation", "tanh"),
        )
        parameters = Recommender.load(tmp_path / "m").get_params()
        assert (
            parameters
            == AutoRec(
                epochs=1,
                orientation="user",
                hidden_units=(5, 3, 5),
                regularization=2.5,
                clip=False,
                default_rating=3.0,
                validation_fraction=0.2,
                corruption_kind="gaussian",
                encoder_activation="tanh",
            ).get_params()
        )

    def test_passes_none_on_where_no_option_means_something_else(self, ok, folder, tmp_path):
        ok(
            *("train", folder / "ratings.csv", "-o", tmp_path / "m", "--hidden-units", "5"),
            *("--epochs", "1", "--optimizer", "rprop", "--batch-size", "none"),
        )
        parameters = Recommender.load(tmp_path / "m").get_params()
        assert parameters["batch_size"] is None
        ok("train", folder / "ratings.csv", "-o", tmp_path / "m", *QUICK, "--batch-size", "7")
        assert Recommender.load(tmp_path / "m").get_params()["batch_size"] == 7
        ok("train", folder / "ratings.csv", "-o", tmp_path / "m", *QUICK, "--batch-size", "auto")
        assert Recommender.load(tmp_path / "m").get_params()["batch_size"] == "auto"

    def test_reads_as_read_ratings_does(self, ok, run, folder, tmp_path):
        path = tmp_path / "odd.txt"
        path.write_text("what|who|how\nheat|ann|3\nheat|bob|4\nalien|ann|5\nheat|ann|2\n")
        args = ("train", path, *QUICK, "-o", tmp_path / "m", "--columns", "who,what,how")
        code, _, err = run(*args)
        assert code == 1
        assert re.search(r"user 'ann' and item 'heat'; pass --duplicates mean, sum or last", err)
        out = ok(*args, "--separator", "|", "--header", "--duplicates", "last")
        assert "2 users x 2 items, 3 ratings from 2 to 5" in out
        out = ok(
            *args[:-1],
            "1,0,-",
            "--header",
            "--duplicates",
            "mean",
            "--format",
            "csv",
            "--separator",
            "|",
            "--encoding",
            "latin-1",
        )
        assert "3 ratings from 1 to 1" in out

    def test_shows_progress_only_if_asked_or_on_a_terminal(self, run, folder):
        args = ("train", folder / "ratings.csv", *QUICK, "--test-size", "0.1")
        assert run(*args, "--no-progress")[2] == ""
        code, out, err = run(*args, "--progress")
        assert code == 0
        assert "100%" in err
        assert "%" not in out

    def test_replaces_a_file(self, ok, folder, tmp_path):
        (tmp_path / "m").write_text("old")
        ok("train", folder / "ratings.csv", *QUICK, "--output", tmp_path / "m")
        Recommender.load(tmp_path / "m")
        assert [path.name for path in tmp_path.iterdir()] == ["m"]

    def test_measures_the_biases_beside_the_model(self, ok, folder):
        out = ok("train", folder / "ratings.csv", *QUICK, "--test-size", "0.1")
        train, test = train_test_split(
            read_ratings(folder / "ratings.csv"), test_size=0.1, random_state=0
        )
        biases = bias_baseline(train, test)
        shown = f"RMSE {rmse(test.values, biases):.4f}, MAE {mae(test.values, biases):.4f}"
        assert f"user and item biases alone: {shown}\ntest RMSE" in out
        lists = ok("train", folder / "ratings.csv", "--model", "ease", "--test-size", "0.1")
        assert "biases" not in lists

    def test_writes_both_parts_of_the_split(self, ok, run, folder, tmp_path):
        parts = (tmp_path / "train.csv", tmp_path / "test.parquet")
        args = ("train", folder / "ratings.csv", *QUICK, "--split", *parts)
        out = ok(*args, "--test-size", "0.1", "--split-seed", 3)
        assert re.search(r"wrote .*train\.csv \(360 ratings\)\nwrote .*test\.parquet \(40 rat", out)
        wanted = train_test_split(
            read_ratings(folder / "ratings.csv"), test_size=0.1, random_state=3
        )
        for part, path in zip(wanted, parts, strict=True):
            got = read_ratings(path).to_arrays()
            for array, expected in zip(got[:3], part.to_arrays()[:3], strict=True):
                np.testing.assert_array_equal(array, expected)
        assert "--split must come with --test-size" in run(*args)[2]

    @pytest.mark.parametrize(
        ("parts", "message"),
        [
            (("train.xls", "t.csv"), "format must be csv, tsv, parquet or npz, but for"),
            (("t.csv", "nowhere/t.csv"), "the folder"),
            (("t.csv", "ratings.csv"), "--split must be none of the files that are read"),
        ],
    )
    def test_refuses_a_split_before_any_work(self, run, folder, tmp_path, parts, message):
        (tmp_path / "ratings.csv").write_bytes((folder / "ratings.csv").read_bytes())
        args = ("train", tmp_path / "ratings.csv", "--test-size", "0.1")
        code, out, err = run(*args, "--split", *(tmp_path / part for part in parts))
        assert (code, out) == (1, "")
        assert message in err

    def test_prepares_ratings(self, ok, run, folder):
        args = ("train", folder / "ratings.csv", "--model", "ease", "--test-size", "0.2")
        ratings = read_ratings(folder / "ratings.csv")
        kept = ratings.select(ratings.values >= 4)
        assert f"{kept.nnz} ratings from 4 to 5" in ok(*args, "--min-rating", "4")
        assert f"{kept.nnz} ratings from 1 to 1" in ok(*args, "--threshold", "4")
        assert "400 ratings from 0.693147 to 1.79176" in ok(*args, "--log1p")
        _, _, err = run(*args, "--threshold", "4", "--log1p")
        assert "--threshold must not come with --log1p or --min-rating" in err
        _, _, err = run(*args, "--min-rating", "6")
        assert "--min-rating must be at most the highest rating, 5, but it was 6" in err

    def test_warns_of_values_in_a_line(self, run, ok, tmp_path):
        lines = "".join(f"{u},{u % 9},{-1 if u % 4 == 0 else u % 5 + 1}\n" for u in range(1, 60))
        (tmp_path / "r.csv").write_text("user,item,rating\n" + lines)
        args = ("train", tmp_path / "r.csv", *QUICK, "--test-size", "5")
        code, _, err = run(*args)
        assert code == 0
        assert err.count("\n") == 1
        assert re.match(r"isthmus: warning: .*are -1, far .* pass --missing-values -1\.$", err)
        assert "45 ratings from 1 to 5" in ok(*args, "--missing-values", "-1")
        (tmp_path / "r.csv").write_text(lines.replace("-1", "9000"))
        assert "like counts" in run(*args)[2]
        ok(*args, "--log1p")
        model = (*args[:2], "--model", "ease", "--test-size", "5")
        assert "EASE(weights='log1p')" in ok(*model, "--weights", "log1p")
        for option in (("--implicit",), ("--threshold", "5")):
            code, _, err = run(*model, "--weights", "log1p", *option)
            assert code == 2
            assert f"--weights must not come with {option[0]}, which makes all values 1." in err

    def test_shows_the_option_that_names_columns(self, run, tmp_path):
        (tmp_path / "r.csv").write_text("whom,artistID,how much\n1,2,3\n")
        _, _, err = run("train", tmp_path / "r.csv", "--test-size", "1")
        assert 'name it, as --columns "whom,artistID,how much" does if these are' in err
        (tmp_path / "r.csv").write_text("whom,artistID,weight\n1,2,3\n")
        _, _, err = run("train", tmp_path / "r.csv", "--test-size", "1")
        assert "name it, as --columns whom,artistID,weight does if these are" in err


class TestTrainErrors:
    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--epochs", "0"], "epochs must be an integer of at least 1, but it was 0."),
            (
                ["--target-centering", "row", "--decoder-activation", "sigmoid"],
                'target_centering must be "none" with decoder_activation=',
            ),
            (["--encoder-activation", "step"], "encoder_activation must be one of 'identity'"),
            (["--learning-rate", "nan"], "learning_rate must be a finite number above 0"),
            (["--patience", "3"], "patience needs validation data"),
            (["--test-size", "1.5"], "test_size must lie between 0 and 1"),
            (["--validation", "nowhere.csv"], "nowhere.csv must be a file, but there is none."),
            (["--output", "nowhere/m"], "nowhere/m cannot be written: the folder"),
            (["--output", "."], ". cannot be written: it is a folder."),
            (["--columns", "who"], "columns must name user, item"),
            (["--encoding", "klingon"], "encoding must be known to Python"),
        ],
        ids=str,
    )
    def test_are_one_line_and_leave_no_file(
        self, run, folder, tmp_path, monkeypatch, args, message
    ):
        monkeypatch.chdir(tmp_path)
        code, _, err = run("train", folder / "ratings.csv", *QUICK, "--output", "m", *args)
        assert code == 1
        assert err.startswith("isthmus: error: ")
        assert message in err
        assert err.count("\n") == 1
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ([], "there must be --output, --test-size, or both"),
            (["-o", "m", "--model", "hal"], "it must be one of autorec, biased-mf, cdae,"),
            (["-o", "m", "--optimizer", "hope"], "'hope' is not one of"),
            (["-o", "m", "--hidden-units", "5,x"], "must be integers separated by commas"),
            (["-o", "m", "--epochs", "x"], "'--epochs'"),
            (["-o", "m", "--batch-size", "x"], "must be an integer, auto or none, but it was 'x'"),
            (["-o", "m", "--colour", "red"], "--colour"),
        ],
        ids=str,
    )
    def test_of_usage_have_code_2(self, run, folder, args, message):
        code, out, err = run("train", folder / "ratings.csv", *args)
        assert (code, out) == (2, "")
        assert message in " ".join(err.split())

    @pytest.mark.parametrize("option", ["ratings", "--validation", "--content"])
    def test_an_output_that_is_an_input_stays_as_it_was(self, run, folder, tmp_path, option):
        there = tmp_path / "there.csv"
        shutil.copy(folder / "ratings.csv", there)
        before = there.read_bytes()
        again = tmp_path / ".." / tmp_path.name / there.name
        read = [there] if option == "ratings" else [folder / "ratings.csv", option, there]
        args = ["--model", "cvae", "--epochs", "1", "--output", again]
        code, out, err = run("train", *read, *args)
        assert (code, out) == (1, "")
        assert f"--output must be none of the files that are read, but it was {again}" in err
        assert there.read_bytes() == before

    def test_name_the_line_of_a_file(self, run, tmp_path):
        (tmp_path / "r.csv").write_text("user,item,rating\n1,2,3\n1,3,many\n")
        code, _, err = run("train", tmp_path / "r.csv", "-o", tmp_path / "m")
        assert code == 1
        assert err == (
            f"isthmus: error: {tmp_path / 'r.csv'}, line 3: "
            f"the rating must be a finite number, but it is 'many'.\n"
        )

    def test_say_that_training_diverged(self, run, folder, tmp_path):
        code, _, err = run(
            *("train", folder / "ratings.csv", "-o", tmp_path / "m", "--hidden-units", "6"),
            *("--encoder-activation", "identity", "--optimizer", "sgd", "--learning-rate", "10"),
        )
        assert code == 1
        assert re.fullmatch(r"isthmus: error: training diverged in epoch .*learning_rate.*\n", err)
        assert not (tmp_path / "m").exists()

    def test_have_a_traceback_on_demand(self, folder, monkeypatch):
        args = ["train", str(folder / "ratings.csv"), "--epochs", "0", "--test-size", "0.1"]
        with pytest.raises(ValueError, match="epochs must be"):
            app(["--traceback", *args])
        monkeypatch.setenv("ISTHMUS_TRACEBACK", "1")
        with pytest.raises(ValueError, match="epochs must be"):
            app(args)

    @pytest.mark.parametrize(
        ("error", "line"),
        [
            (MemoryError(), "there is not enough memory."),
            (ImportError("no polars"), "no polars"),
            (ConvergenceError("two\n  lines"), "two lines"),
            (PermissionError(13, "Permission denied", "f"), "f: Permission denied"),
            (OSError(28, "No space left on device"), "No space left on device"),
            (KeyError(), "KeyError"),
        ],
        ids=repr,
    )
    def test_of_any_kind_are_one_line(self, run, folder, monkeypatch, error, line):
        def fail(*args, **options):
            raise error

        monkeypatch.setattr(train, "read_prepared", fail)
        code, _, err = run("train", folder / "ratings.csv", "--test-size", "0.1")
        assert (code, err) == (1, f"isthmus: error: {line}\n")


class TestOptions:
    def test_of_a_model_are_its_constructors_and_say_what_its_docstring_says(self, ok):
        shown = " ".join(ok("train", "--help").split())
        for name, value in AutoRec().get_params().items():
            if name == "verbose":  # --progress
                assert "--verbose" not in shown
                continue
            flag = "--" + name.replace("_", "-")
            assert re.search(rf" {flag} ", shown)
            if isinstance(value, str):
                assert f"[default: {value}]" in shown
        assert 'With optimizer="lbfgs", "auto" means all. [default: auto]' in shown
        assert "--clip / --no-clip" in shown
        assert "--orientation" in shown
        assert re.search(r"item\|user", shown)
        assert "Options of AutoRec:" in shown
        assert "Options for reading ratings:" in shown
        assert "`" not in shown.partition("Options of AutoRec")[2]

    def test_have_no_default_of_their_own(self):
        source = Source("", AutoRec.__init__, AutoRec.__doc__, skip=("verbose",))
        options = {option.name: option for option in source.options()}
        assert options.keys() == AutoRec().get_params().keys() - {"verbose"}
        assert all(option.default is None for option in options.values())

    def test_are_those_of_the_model_that_is_named(self, ok, run, folder, monkeypatch):
        class Flat(Recommender):
            """Predicts one number.

            Parameters
            ----------
            level : float, default 3.0
                What it predicts, as in ``level``.
            mood : {"good", "bad"}, optional
            """

            def __init__(self, *, level: float = 3.0, mood: str | None = None) -> None:
                self.level = level

        monkeypatch.setitem(train.MODELS, "flat", Flat)
        monkeypatch.delitem(Recommender._models, "Flat")
        for args in (("--model", "flat"), ("--model=flat",), ("--model", "Flat")):
            shown = " ".join(ok("train", *args, "--help").split())
            assert "Options of Flat:" in shown
            assert "What it predicts, as in level. [default: 3.0]" in shown
            assert "--mood" in shown
            assert "--hidden-units" not in shown
        code, _, err = run("train", "x.csv", "-o", "m", "--model", "flat", "--epochs", "3")
        assert code == 2
        assert "--epochs" in err

    def test_take_descriptions_from_numpy_docstrings(self):
        found = describe_parameters(
            """Do.

            Parameters
            ----------
            one, two : int, default 5
                How `many`,
                :math:`n`.
            three : str

            Returns
            -------
            four : int
                No parameter.
            """
        )
        assert found == {
            "one": ("int, default 5", "How many, n."),
            "two": ("int, default 5", "How many, n."),
            "three": ("str", ""),
        }

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            ("AutoRec", "autorec"),
            ("BiasedMF", "biased-mf"),
            ("MultVAE", "mult-vae"),
            ("EASE", "ease"),
            ("CDAE", "cdae"),
            ("CVAE", "cvae"),
        ],
    )
    def test_write_the_names_of_models_as_a_shell_does(self, name, written):
        assert name_of(type(name, (), {})) == written


class TestContent:
    SMALL = (
        *("--model", "cvae", "--hidden-units", "6", "--latent-units", "3", "--epochs", "2"),
        *("--pretraining-epochs", "2", "--random-state", "0", "--num-threads", "1"),
    )

    @pytest.fixture
    def matrix(self, tmp_path):
        words = sparse.random(530, 20, 0.2, random_state=0, format="csr")
        sparse.save_npz(tmp_path / "words.npz", words)
        return tmp_path / "words.npz"

    def test_of_a_matrix_has_rows_by_id(self, ok, folder, matrix, tmp_path):
        out = ok(
            *("train", folder / "ratings.csv", "-o", tmp_path / "m", "--content", matrix),
            *self.SMALL,
        )
        assert f"{matrix}: Content(530 items x 20 features, " in out
        words = sparse.load_npz(matrix)
        expected = CVAE(
            hidden_units=(6,), latent_units=3, epochs=2, pretraining_epochs=2, random_state=0
        ).fit(read_ratings(folder / "ratings.csv"), content=Content(words))
        model = CVAE.load(tmp_path / "m")
        assert len(model._content.indices) > 0
        np.testing.assert_array_equal(model.item_factors_, expected.item_factors_)

    def test_of_a_table_has_token_lists(self, ok, strings, folder, tmp_path):
        ids = read_ratings(folder / "ratings.csv").item_ids
        table = pa.table({"item": ids, "tokens": [["a", "b"], ["c"]] * (len(ids) // 2)})
        pq.write_table(table, tmp_path / "words.parquet")
        ok(
            *("train", folder / "ratings.csv", "-o", tmp_path / "m"),
            *("--content", tmp_path / "words.parquet", *self.SMALL),
        )
        assert CVAE.load(tmp_path / "m")._vocabulary.tolist() == ["a", "b", "c"]

    def test_is_refused_by_models_that_take_none(self, run, folder, matrix, tmp_path):
        code, _, err = run(
            *("train", folder / "ratings.csv", "-o", tmp_path / "m", "--content", matrix)
        )
        assert code == 2
        assert "--content goes with --model cvae, but the model is autorec." in " ".join(
            err.replace("│", " ").split()
        )

    def test_that_is_no_matrix_is_an_error(self, run, folder, tmp_path):
        (tmp_path / "words.npz").write_text("no matrix")
        code, _, err = run(
            *("train", folder / "ratings.csv", "-o", tmp_path / "m"),
            *("--content", tmp_path / "words.npz", *self.SMALL),
        )
        assert code == 1
        assert "words.npz must be a sparse matrix that scipy.sparse.save_npz wrote" in err
        assert not (tmp_path / "m").exists()


class TestEvaluate:
    def test_prints_what_the_model_says(self, ok, folder, model):
        out = ok("evaluate", folder / "model.safetensors", folder / "ratings.csv")
        expected = model.evaluate(read_ratings(folder / "ratings.csv"))
        printed = {name: float(value) for name, value in map(str.split, out.splitlines())}
        assert printed == pytest.approx(expected, abs=1e-6)

    def test_takes_ids_that_look_like_integers_for_the_strings_they_are(
        self, ok, strings, tmp_path
    ):
        (tmp_path / "r.csv").write_text("user,item,rating\n7,42,3\n")
        assert ok("evaluate", strings, tmp_path / "r.csv").startswith("rmse ")

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("999,500,3", "users of test must be among the 40 user ids"),
            ("100,999,3", "items of test must be among the 30 item ids"),
            ("ann,500,3", "must be integers, as the user ids"),
        ],
    )
    def test_refuses_unknown_ids(self, run, folder, tmp_path, line, message):
        (tmp_path / "r.csv").write_text(f"user,item,rating\n{line}\n")
        code, out, err = run("evaluate", folder / "model.safetensors", tmp_path / "r.csv")
        assert (code, out) == (1, "")
        assert message in err

    @pytest.mark.parametrize("name", ["ratings.csv", "nowhere", "."])
    def test_refuses_what_is_no_model(self, run, folder, name):
        code, out, err = run("evaluate", folder / name, folder / "ratings.csv")
        assert (code, out) == (1, "")
        assert re.match(r"isthmus: error: .*(no model|does not exist|is a folder)", err)


# A top-N model, and the options that make it beside --epochs and --random-state.
TOP_N = {
    "ease": (EASE(regularization=5.0), "--regularization 5"),
    "mult-dae": (MultDAE(hidden_units=(6,)), "--hidden-units 6"),
    "mult-vae": (
        MultVAE(hidden_units=(6,), decoder_units=(), latent_units=3, beta=0.1),
        "--hidden-units 6 --decoder-units= --latent-units 3 --beta .1",
    ),
    "cdae": (
        CDAE(hidden_units=6, loss="square", tied=True),
        "--hidden-units 6 --loss square --tied",
    ),
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Train, validation and test part of the same users, as files."""
    folder = tmp_path_factory.mktemp("top-n")
    ratings = synthetic_ratings(60, 40, 900, random_state=2)
    rest, test = train_test_split(ratings, test_size=0.2, random_state=0, by="user")
    train, validation = train_test_split(rest, test_size=0.2, random_state=0, by="user")
    for name, part in (("train", train), ("validation", validation), ("test", test)):
        write_ratings(part, folder / f"{name}.csv")
    return folder


@pytest.fixture(scope="module")
def ease(parts):
    EASE(regularization=5.0).fit(read_ratings(parts / "train.csv")).save(parts / "ease")
    return parts / "ease"


class TestTopN:
    def printed(self, out):
        return {name: float(value) for name, value in map(str.split, out.splitlines())}

    @pytest.mark.parametrize("name", TOP_N)
    def test_trains_and_tests_by_rankings(self, ok, folder, tmp_path, name):
        model, args = TOP_N[name]
        if name != "ease":
            model, args = clone(model), f"{args} --epochs 2 --random-state 0"
            model.set_params(epochs=2, random_state=0)
        out = ok(
            *("train", folder / "ratings.csv", "--model", name, *args.split()),
            *("-o", tmp_path / "m"),
            *("--test-size", "0.2", "--split-by", "user", "--metrics", "ndcg@5, recall@20"),
        )
        train, test = train_test_split(
            read_ratings(folder / "ratings.csv"), test_size=0.2, random_state=0, by="user"
        )
        values = model.fit(train).evaluate(test, ["ndcg@5", "recall@20"])
        line = f"test NDCG@5 {values['ndcg@5']:.4f}, RECALL@20 {values['recall@20']:.4f}"
        assert line in out.splitlines()
        again = type(model).load(tmp_path / "m")
        assert again.get_params() == model.get_params()
        assert again.evaluate(test, "ndcg@5")["ndcg@5"] == values["ndcg@5"]

    def test_tests_by_what_fits_the_model(self, ok, folder):
        args = ("train", folder / "ratings.csv", "--test-size", "0.2")
        shown = ok(*args, "--model", "ease").splitlines()
        assert shown[-2] == "trained in closed form"
        assert re.fullmatch(
            r"test NDCG@10 0\.\d{4}, RECALL@10 0\.\d{4}, PRECISION@10 0\.\d{4}", shown[-1]
        )
        both = ok(*args, *QUICK, "--metrics", "mae,hr@3").splitlines()[-1]
        assert re.fullmatch(r"test MAE 0\.\d{4}, HR@3 0\.\d{4}", both)

    def test_tells_the_best_epoch_by_the_metric_that_is_watched(self, ok, parts):
        out = ok(
            *("train", parts / "train.csv", *QUICK, "--epochs", "8", "--model", "mult-dae"),
            *("--validation", parts / "validation.csv", "--validation-metric", "recall@5"),
            *("--patience", "2", "-o", parts / "dae"),
        )
        found = re.search(r"best validation RECALL@5 (0\.\d{4}) in epoch \d", out)
        values = MultDAE.load(parts / "dae").evaluate(
            read_ratings(parts / "validation.csv"), "recall@5"
        )
        assert float(found[1]) == pytest.approx(values["recall@5"], abs=5e-5)

    def test_evaluates_rankings(self, ok, parts, ease):
        model = EASE.load(ease)
        test, validation = (read_ratings(parts / f"{n}.csv") for n in ("test", "validation"))
        args = ("evaluate", ease, parts / "test.csv")
        names = ["ndcg@10", "recall@20", "auc"]
        metrics = ("--metrics", ",".join(names))
        for extra, options in (
            ((), {}),
            (("--exclude", parts / "validation.csv"), {"exclude": validation}),
            (("--include-seen",), {"exclude_seen": False}),
        ):
            found = self.printed(ok(*args, *metrics, *extra))
            assert list(found) == names
            assert found == pytest.approx(model.evaluate(test, names, **options), abs=1e-6)
        assert list(self.printed(ok(*args))) == ["ndcg@10", "recall@10", "precision@10"]

    def test_evaluates_by_either_order(self, ok, run, parts, ease, tmp_path):
        model = BiasedMF(factors=3, epochs=3, random_state=0, num_threads=1)
        model.fit(read_ratings(parts / "train.csv")).save(tmp_path / "m")
        test = read_ratings(parts / "test.csv")
        args = ("evaluate", tmp_path / "m", parts / "test.csv", "--metrics", "ndcg@10,rmse")
        for extra, order in (((), "likely"), (("--order", "rating"), "rating")):
            found = self.printed(ok(*args, *extra))
            expected = model.evaluate(test, ["ndcg@10", "rmse"], order=order)
            assert found == pytest.approx(expected, abs=1e-6)
        code, _, err = run("evaluate", ease, parts / "test.csv", "--order", "rating")
        assert code == 1
        assert "--order must be likely for EASE, whose scores are no ratings" in err

    def test_evaluates_users_whom_the_model_does_not_know(self, ok, parts, tmp_path):
        ratings = synthetic_ratings(60, 40, 900, random_state=2)
        split = hold_out_users(ratings, test_users=0.2, random_state=0)
        model = EASE(regularization=5.0).fit(split.train)
        model.save(tmp_path / "m")
        known, wanted = split.test
        # the file of known ratings may be of more users, in whatever order
        users, items, values, _ = known.to_arrays()
        write_ratings(
            Ratings.from_arrays(
                np.append(users[::-1], 999), np.append(items[::-1], items[0]), np.append(values, 1)
            ),
            tmp_path / "known.csv",
        )
        write_ratings(wanted, tmp_path / "test.csv")
        args = ("evaluate", tmp_path / "m", tmp_path / "test.csv", "--metrics", "ndcg@10,recall@5")
        expected = model.evaluate(wanted, ["ndcg@10", "recall@5"], ratings=known)
        known = ("--ratings", tmp_path / "known.csv")
        assert self.printed(ok(*args, *known)) == pytest.approx(expected, abs=1e-6)

    @pytest.mark.parametrize(
        ("args", "code", "message"),
        [
            (["--metrics", "ndcg"], 2, "the metric ndcg must be given with a cut-off"),
            (["--metrics", "ndcg@10,"], 2, "metrics must be one of rmse, mae, precision,"),
            (["--metrics", "ndcg@0"], 2, "must be given with a cut-off"),
            (["--ratings", "nowhere"], 1, "nowhere must be a file"),
            (["--ratings", "other.csv"], 1, "--ratings must be of the users that are tested"),
            (["--exclude", "test.csv"], 1, "test must hold nothing that is left out"),
            (["--metrics", "rmse"], 1, "must be of rankings for EASE"),
        ],
        ids=str,
    )
    def test_refuses(self, run, parts, ease, monkeypatch, args, code, message):
        monkeypatch.chdir(parts)
        (parts / "other.csv").write_text("user,item,rating\n999,1,1\n")
        got, out, err = run("evaluate", ease, "test.csv", *args)
        assert got == code
        assert out == ""
        assert message in " ".join(err.split())

    def test_refuses_metrics_without_a_test(self, run, folder):
        args = ("train", folder / "ratings.csv", "-o", "m", "--metrics", "ndcg@10")
        code, out, err = run(*args)
        assert (code, out) == (2, "")
        assert "--metrics must come with --test-size" in " ".join(err.split())

    def test_refuses_errors_of_a_model_of_rankings_before_it_reads(self, run, folder):
        args = ("train", folder / "nowhere.csv", "--model", "ease", "--test-size", "0.2")
        code, out, err = run(*args, "--metrics", "ndcg@10,RMSE")
        assert (code, out) == (1, "")
        assert "--metrics must be of rankings for EASE" in " ".join(err.split())


class TestPredict:
    def test_prints_one_number_for_one_pair(self, ok, folder, model):
        out = ok("predict", folder / "model.safetensors", "--user", 103, "--item", 507)
        assert out == f"{model.predict(103, 507):.4f}\n"

    @pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.dat", "p.txt", "p.parquet"])
    def test_reads_pairs_and_keeps_their_order(self, ok, folder, model, tmp_path, name):
        pairs = [(103, 507), (101, 529), (103, 507), (139, 500)]
        path = tmp_path / name
        if name == "p.parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            users, items = zip(*pairs, strict=True)
            pq.write_table(pa.table({"item": items, "note": users, "user": users}), path)
        else:
            separator = {"tsv": "\t", "dat": "::"}.get(path.suffix[1:], ",")
            extra = [] if name == "p.txt" else ["9", "978300760"]
            path.write_text(
                "".join(separator.join([str(u), str(i), *extra]) + "\n" for u, i in pairs)
            )
        out = ok("predict", folder / "model.safetensors", path)
        rows = list(csv.reader(io.StringIO(out)))
        assert rows[0] == ["user", "item", "prediction"]
        assert [(int(u), int(i)) for u, i, _ in rows[1:]] == pairs
        users, items = np.transpose(pairs)
        assert [float(p) for _, _, p in rows[1:]] == pytest.approx(
            model.predict(users, items).tolist(), abs=5e-5
        )

    def test_takes_columns_by_name(self, ok, folder, tmp_path):
        (tmp_path / "p.csv").write_text("film,when,person\n507,3,103\n")
        out = ok(
            "predict", folder / "model.safetensors", tmp_path / "p.csv", "--columns", "person,film"
        )
        assert out.splitlines()[1].startswith("103,507,")

    def test_writes_a_file_that_can_be_read_back(self, ok, folder, tmp_path):
        out = tmp_path / "out.csv"
        args = ("predict", folder / "model.safetensors", folder / "ratings.csv", "--output", out)
        assert ok(*args) == ""
        predicted = read_ratings(out, columns=("user", "item", "prediction"))
        assert predicted.nnz == 400
        assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]

    def test_takes_ids_for_the_strings_they_are(self, ok, strings, tmp_path):
        assert float(ok("predict", strings, "--user", "7", "--item", "42")) > 0
        (tmp_path / "p.csv").write_text("user,item\n7,42\n")
        assert ok("predict", strings, tmp_path / "p.csv").splitlines()[1].startswith("7,42,")

    @pytest.mark.parametrize(
        ("args", "code", "message"),
        [
            ([], 2, "there must be either a file of pairs, or --user and --item"),
            (["--user", "103"], 2, "there must be either"),
            (["p.csv", "--user", "103", "--item", "507"], 2, "there must be either"),
            (["--user", "9", "--item", "507"], 1, "but 9 is not."),
            (["--user", "ann", "--item", "507"], 1, "--user must be an integer, as the model's"),
            (["--user", "103", "--item", "-1"], 1, "--item must be an integer"),
            (["p.csv"], 1, "p.csv"),
            (["--user", "103", "--item", "507", "-o", "nowhere/p.csv"], 1, "nowhere is missing"),
        ],
        ids=str,
    )
    def test_refuses(self, run, folder, tmp_path, monkeypatch, args, code, message):
        monkeypatch.chdir(tmp_path)
        got, out, err = run("predict", folder / "model.safetensors", *args)
        assert (got, out) == (code, "")
        assert message in " ".join(err.split())

    @pytest.mark.parametrize("name", ["model.safetensors", "p.csv"])
    def test_refuses_an_output_that_it_reads(self, run, folder, tmp_path, name):
        shutil.copy(folder / "model.safetensors", tmp_path)
        (tmp_path / "p.csv").write_text("user,item\n103,507\n")
        before = (tmp_path / name).read_bytes()
        code, _, err = run(
            *("predict", tmp_path / "model.safetensors", tmp_path / "p.csv"),
            *("--output", tmp_path / name),
        )
        assert code == 1
        assert "--output must be none of the files that are read" in err
        assert (tmp_path / name).read_bytes() == before


class TestRecommend:
    def test_prints_a_table(self, ok, folder, model):
        out = ok("recommend", folder / "model.safetensors", "--user", 103, "--user", 101, "--n", 3)
        ids, scores = model.recommend([103, 101], n=3)
        expected = []
        for user, row, values in zip((103, 101), ids, scores, strict=True):
            expected += [""] * bool(expected) + [f"user {user}"]
            for rank, (item, score) in enumerate(zip(row, values, strict=True), 1):
                expected.append(f"{rank:4}  {item}  {score:8.4f}")
        assert out.splitlines() == expected

    def test_takes_an_order(self, ok, run, folder, model):
        args = ("recommend", folder / "model.safetensors", "--all-users", "--format", "json")
        for order in ("likely", "rating"):
            ids, scores = model.recommend(order=order)
            lists = json.loads(ok(*args, "--order", order))
            for one, row, values in zip(lists, ids.tolist(), scores.tolist(), strict=True):
                assert [i["item"] for i in one["items"]] == [i for i in row if i >= 0]
                assert [i["score"] for i in one["items"]] == pytest.approx(
                    [v for v in values if not np.isnan(v)], abs=1e-4
                )
        assert ok(*args, "--order", "likely") == ok(*args) != ok(*args, "--order", "rating")
        assert run(*args, "--order", "popular")[0] == 2

    def test_adds_titles(self, ok, folder, model):
        args = (folder / "model.safetensors", "--user", 103, "--items", folder / "movies.dat")
        best = model.recommend(103, n=1)[0][0]
        assert f'"Film" {best}, The' in ok("recommend", *args).splitlines()[1]
        rows = list(csv.DictReader(io.StringIO(ok("recommend", *args, "--format", "csv"))))
        assert rows[0]["title"] == f'"Film" {best}, The'
        assert rows[0]["rank"] == "1"
        assert len(rows) == 10

    def test_prints_json(self, ok, folder, model):
        out = ok("recommend", folder / "model.safetensors", "--all-users", "--format", "json")
        lists = json.loads(out)
        assert [one["user"] for one in lists] == list(range(100, 140))
        ids, scores = model.recommend(n=10)
        for one, row in zip(lists, ids, strict=True):
            assert [item["item"] for item in one["items"]] == row[row >= 0].tolist()
        assert lists[3]["items"][0]["score"] == pytest.approx(scores[3, 0], abs=5e-5)
        assert "title" not in lists[0]["items"][0]

    def test_chooses_among_candidates_and_ends_where_they_do(self, ok, folder, model, tmp_path):
        (tmp_path / "ids").write_text("507\n\n 511 \n")
        args = ("recommend", folder / "model.safetensors", "--user", 103, "--format", "json")
        (one,) = json.loads(ok(*args, "--candidates", tmp_path / "ids", "--include-seen"))
        assert {item["item"] for item in one["items"]} == {507, 511}

    def test_leaves_items_out(self, ok, folder, tmp_path):
        (tmp_path / "ids").write_text("507\n511\n")
        args = ("recommend", folder / "model.safetensors", "--user", 103, "--format", "json")
        (one,) = json.loads(ok(*args, "--exclude", tmp_path / "ids", "--n", 1000))
        (all_items,) = json.loads(ok(*args, "--n", 1000))
        left = [item for item in all_items["items"] if item["item"] not in (507, 511)]
        assert one["items"] == left
        assert len(left) < len(all_items["items"])

    def test_users_have_items_of_their_own(self, ok, run, folder, tmp_path):
        (tmp_path / "pairs.csv").write_text("user,item\n103,507\n104,511\n103,509\n999,1\n")
        args = ("recommend", folder / "model.safetensors", "--include-seen", "--format", "json")
        lists = json.loads(
            ok(*args, "--user", 104, "--user", 103, "--candidates", tmp_path / "pairs.csv")
        )
        assert [{item["item"] for item in one["items"]} for one in lists] == [{511}, {507, 509}]
        (tmp_path / "tab").write_text("103\t507\n")
        both = ("--user", 104, "--user", 103, "--candidates", tmp_path / "pairs.csv")
        lists = json.loads(ok(*args, *both, "--exclude", tmp_path / "tab"))
        assert [{item["item"] for item in one["items"]} for one in lists] == [{511}, {509}]
        code, _, err = run(*args, "--user", 105, "--candidates", tmp_path / "tab")
        assert code == 1
        assert "must have items of the users that are recommended to, as 105" in err

    def test_can_be_left_without_an_item(self, ok, folder, tmp_path):
        ratings = read_ratings(folder / "ratings.csv")
        seen = ratings.item_ids[ratings.indices[0]]
        (tmp_path / "ids").write_text(f"{seen}\n")
        args = ("recommend", folder / "model.safetensors", "--user", 100)
        args = (*args, "--candidates", tmp_path / "ids")
        assert "no item is left to recommend" in ok(*args)
        assert ok(*args, "--format", "csv") == "user,rank,item,score\n"
        assert json.loads(ok(*args, "--format", "json")) == [{"user": 100, "items": []}]

    def test_includes_what_was_seen_on_demand(self, ok, folder):
        args = ("recommend", folder / "model.safetensors", "--user", 100, "-n", 30)
        with_seen = ok(*args, "--include-seen").splitlines()
        assert len(with_seen) == 31 > len(ok(*args).splitlines())

    def test_takes_ratings_of_new_users(self, ok, folder, model, tmp_path):
        (tmp_path / "new.csv").write_text("user,item,rating\n9000,507,5\n9000,511,1\n")
        args = ("recommend", folder / "model.safetensors", "--ratings", tmp_path / "new.csv")
        (one,) = json.loads(ok(*args, "--format", "json"))
        assert one["user"] == 9000
        new = Ratings.from_arrays([9000, 9000], [507, 511], [5, 1])
        assert [i["item"] for i in one["items"]] == model.recommend(ratings=new)[0][0].tolist()

    def test_writes_the_lists_of_everyone(self, ok, folder, tmp_path, model):
        wanted = ("--candidates", tmp_path / "ids", "--include-seen", "--order", "rating", "-n", 4)
        (tmp_path / "ids").write_text("501\n507\n520\n")
        out = ok(
            *("recommend", folder / "model.safetensors", "--all", *wanted),
            *("--output", tmp_path / "lists"),
        )
        assert out == f"wrote {tmp_path / 'lists'} (40 users in 1 file)\n"
        found = pq.read_table(tmp_path / "lists").to_pydict()
        ids, scores = model.recommend(
            n=4, candidates=[501, 507, 520], exclude_seen=False, order="rating"
        )
        assert found["user"] == model.user_ids_.tolist()
        assert found["items"] == ids[:, :3].tolist()
        np.testing.assert_array_equal(np.float32(found["scores"]), scores[:, :3])

    def test_leaves_out_of_the_lists_of_everyone(self, run, ok, folder, tmp_path, model):
        args = ("recommend", folder / "model.safetensors", "--all", "-o", tmp_path / "lists")
        (tmp_path / "ids").write_text("501\n507\n")
        (tmp_path / "pairs.csv").write_text("user,item\n100,501\n")
        for option in ("--candidates", "--exclude"):
            code, _, err = run(*args, option, tmp_path / "pairs.csv")
            assert code == 1
            assert "must have an item in each line, for all users alike: with --output" in err
        ok(*args, "--exclude", tmp_path / "ids")
        found = pq.read_table(tmp_path / "lists").to_pydict()
        expected = model.recommend(exclude=[501, 507])[0]
        assert found["items"] == [row[row >= 0].tolist() for row in expected]

    def test_writes_the_lists_of_histories(self, run, ok, folder, tmp_path, model):
        table = pa.table({"user": [7, 100], "items": [[501, 99], []], "ratings": [[4.0, 1.0], []]})
        pq.write_table(table, tmp_path / "histories.parquet")
        args = ("recommend", folder / "model.safetensors", "-o", tmp_path / "lists")
        args = (*args, "--histories", tmp_path / "histories.parquet")
        code, _, err = run(*args)
        assert code == 1
        assert "but 99 is not" in err
        assert sorted(os.listdir(tmp_path)) == ["histories.parquet"]
        ok(*args, "--skip-unknown")
        found = pq.read_table(tmp_path / "lists").to_pydict()
        new = Ratings.from_arrays([7], [501], [4.0], item_ids=model.item_ids_)
        assert found["items"][0] == model.recommend(ratings=new)[0][0].tolist()
        assert found["items"][1] == model.recommend(100)[0].tolist()

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--histories", "h.parquet"], "--histories must come with --output"),
            (["--user", "100", "-o", "lists"], "--output must come with --all or --histories"),
            (["--all", "-o", "lists", "--items", "movies.dat"], "--items must not come with"),
            (["--all", "--histories", "h.parquet", "-o", "lists"], "one of --user"),
            (["--all", "-o", "lists", "--format", "csv"], "--format must not come with --output"),
            (["--all", "-o", "lists", "--threshold", "4"], "--threshold must not come with"),
            (["--histories", "h", "-o", "lists", "--separator", ";"], "--separator must not come"),
            (["--all", "-o", "lists", "--skip-unknown"], "--skip-unknown must come with"),
        ],
    )
    def test_refuses_options_that_do_not_go_together(self, run, folder, args, message):
        code, _, err = run("recommend", folder / "model.safetensors", *args)
        assert code == 2
        assert message in " ".join(err.split())

    def test_knows_titles_by_string_ids(self, ok, strings, tmp_path):
        (tmp_path / "titles.csv").write_text("id,title\n42,Answer\n")
        out = ok(
            *("recommend", strings, "--user", "7", "--include-seen"),
            *("--items", tmp_path / "titles.csv"),
        )
        assert "Answer" in out

    @pytest.mark.parametrize(
        ("args", "code", "message"),
        [
            ([], 2, "there must be one of --user, --all, --ratings and --histories"),
            (["--user", "100", "--all-users"], 2, "one of --user"),
            (["--user", "1"], 1, "users must be among the 40 user ids"),
            (["--user", "x"], 1, "--user must be an integer"),
            (["--user", "100", "--n", "0"], 1, "n must be an integer of at least 1"),
            (["--user", "100", "--items", "nowhere"], 1, "nowhere must be a file"),
            (["--user", "100", "--candidates", "nowhere"], 1, "nowhere: No such file"),
            (["--user", "100", "--format", "yaml"], 2, "'yaml' is not one of"),
        ],
        ids=str,
    )
    def test_refuses(self, run, folder, tmp_path, monkeypatch, args, code, message):
        monkeypatch.chdir(tmp_path)
        got, out, err = run("recommend", folder / "model.safetensors", *args)
        assert (got, out) == (code, "")
        assert message in " ".join(err.split())


class TestInfo:
    def test_says_what_is_installed(self, ok):
        facts = dict(line.split(maxsplit=1) for line in ok("info").splitlines())
        assert facts["version"] == isthmus.__version__
        assert facts["isa"] == isthmus.build_info()["isa"]
        assert facts.keys() == isthmus.build_info().keys()

    def test_says_what_a_model_is(self, ok, folder):
        out = ok("info", folder / "model.safetensors")
        assert re.search(r"^model +AutoRec$", out, re.M)
        assert re.search(r"^users +40 \(integers, as 100\)$", out, re.M)
        assert re.search(r"^ratings +400$", out, re.M)
        assert re.search(r"^scale +1 to 5$", out, re.M)
        assert re.search(r"^parameter hidden_units +6$", out, re.M)


def test_demo_beats_the_baselines(ok):
    out = ok("demo", "--quick", "--num-threads", "1")
    errors = dict(
        re.findall(r"^  (mean of all ratings|user and item biases|I-AutoRec) +(\S+)$", out, re.M)
    )
    assert (
        float(errors["I-AutoRec"])
        < float(errors["user and item biases"])
        < float(errors["mean of all ratings"])
    )
    assert len(re.findall(r"^ +\d+  \d+ +\d\.\d{4}$", out, re.M)) == 10


class TestProgram:
    def test_prints_its_version(self, ok):
        assert ok("--version") == f"isthmus {isthmus.__version__}\n"

    @pytest.mark.parametrize(
        "command", ["train", "evaluate", "predict", "recommend", "shard", "info", "demo"]
    )
    def test_explains_every_command(self, ok, command):
        assert f" {command} " in ok("--help")
        assert ok(command, "-h").startswith("Usage: isthmus ")

    def test_refuses_an_unknown_command(self, run):
        code, out, err = run("tarin")
        assert (code, out) == (2, "")
        assert "No such command 'tarin'" in err

    def test_is_installed_and_can_be_run_as_a_module(self):
        for program in ([os.path.join(os.path.dirname(sys.executable), "isthmus")], PROGRAM):
            done = subprocess.run([*program, "--version"], capture_output=True, text=True)
            assert (done.returncode, done.stdout) == (0, f"isthmus {isthmus.__version__}\n")

    @posix
    def test_ends_quietly_where_its_reader_does(self, folder):
        args = [*PROGRAM, "recommend", folder / "model.safetensors", "--all-users"]
        with subprocess.Popen(
            args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ}
        ) as process:
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141


@posix
class TestSignals:
    def start(self, ratings, output, *args):
        return subprocess.Popen(
            [*PROGRAM, "train", ratings, "--output", output, "--num-threads", "1", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, process, text):
        for line in process.stdout:
            if text in line:
                return
        pytest.fail(process.stderr.read())

    def test_ctrl_c_ends_training_at_once_and_writes_nothing(self, folder, tmp_path):
        (tmp_path / "m").write_text("old")
        process = self.start(folder / "ratings.csv", tmp_path / "m", "--epochs", "1000000000")
        self.wait_for(process, "training")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        start = time.perf_counter()
        _, err = process.communicate(timeout=30)
        assert time.perf_counter() - start < 10
        assert process.returncode == 130
        assert err == "\nisthmus: interrupted; no file was written.\n"
        assert (tmp_path / "m").read_text() == "old"
        assert [path.name for path in tmp_path.iterdir()] == ["m"]

    def test_a_kill_leaves_the_old_file_or_the_new_one(self, tmp_path):
        write_ratings(synthetic_ratings(1500, 300, 9_000, random_state=0), tmp_path / "r.npz")
        args = (tmp_path / "r.npz", tmp_path / "m", "--hidden-units", "500", "--epochs", "1")
        process = self.start(*args)
        process.communicate(timeout=60)
        assert process.returncode == 0
        old = tensors_of(tmp_path / "m")
        for delay in (0, 0.01, 0.03):
            process = self.start(*args)
            self.wait_for(process, "epochs in")  # what follows is writing
            time.sleep(delay)
            process.kill()
            process.communicate()
            assert len(tensors_of(tmp_path / "m")) == len(old)
            Recommender.load(tmp_path / "m")  # which checks the header too

    def test_a_kill_in_training_leaves_no_file(self, folder, tmp_path):
        process = self.start(folder / "ratings.csv", tmp_path / "m", "--epochs", "1000000000")
        self.wait_for(process, "training")
        process.kill()
        process.communicate()
        assert not list(tmp_path.iterdir())


class Terminal(io.StringIO):
    def isatty(self):
        return True


EVIL = "\x1b[2J\x9b1m\u202e=1+2\x7f\r\n"
SHOWN = r"\x1b[2J\x9b1m\u202e=1+2\x7f\r\n"


@pytest.fixture(scope="module")
def evil(tmp_path_factory):
    """A model with such ids, and such titles of its items."""
    folder = tmp_path_factory.mktemp("evil")
    users, items = [EVIL + "u", "v"], [EVIL + "a", "b", "c"]
    ratings = Ratings.from_arrays(users * 2, [items[0], *items], [1, 2, 3, 4])
    AutoRec(hidden_units=(2,), epochs=1, random_state=0).fit(ratings).save(folder / "m.st")
    (folder / "titles.csv").write_text("a,x\nc,=\x1b[31m1+2\u2066\n")
    (folder / "pairs.csv").write_text('user,item\nv,"%s"\n' % (EVIL + "a"), newline="")
    return folder


class TestCharactersThatSteerATerminal:
    def args(self, evil, kind):
        shown = ("--all-users", "--include-seen", "--items", evil / "titles.csv")
        return ("recommend", evil / "m.st", *shown, "--format", kind)

    def test_are_written_out_in_tables(self, ok, evil):
        out = ok(*self.args(evil, "table"))
        assert SHOWN + "u" in out
        assert SHOWN + "a" in out
        assert r"=\x1b[31m1+2\u2066" in out
        assert all(line.isprintable() for line in out.split("\n"))

    def test_are_escaped_in_json(self, ok, evil):
        out = ok(*self.args(evil, "json"))
        assert all(line.isprintable() for line in out.split("\n"))
        assert {EVIL + "u", "v"} == {one["user"] for one in json.loads(out)}

    def test_stay_in_csv_that_programs_read(self, ok, evil):
        rows = list(csv.reader(io.StringIO(ok(*self.args(evil, "csv")), newline="")))
        assert {EVIL + "u", "v", "user"} == {row[0] for row in rows}
        assert "=\x1b[31m1+2\u2066" in {row[4] for row in rows}

    @pytest.mark.parametrize("command", ["recommend", "predict"])
    def test_are_written_out_in_csv_on_a_terminal(self, evil, monkeypatch, command):
        monkeypatch.setattr(sys, "stdout", Terminal())
        args = self.args(evil, "csv") if command == "recommend" else (command, evil / "m.st")
        args = args if command == "recommend" else (*args, evil / "pairs.csv")
        with pytest.raises(SystemExit):
            app([str(arg) for arg in args], prog_name="isthmus")
        out = sys.stdout.getvalue()
        assert SHOWN + "a" in out
        assert all(line.isprintable() for line in out.split("\n"))

    def test_are_written_out_in_errors_and_in_info(self, run, ok, evil, tmp_path):
        code, _, err = run("info", tmp_path / "\x1b[31mred")
        assert (code, err.count("\n")) == (1, 1)
        assert err.rstrip("\n").isprintable()
        assert all(line.isprintable() for line in ok("info", evil / "m.st").split("\n"))


@pytest.mark.parametrize(("option", "written"), [("--user", "9" * 19), ("--user", "9" * 5000)])
def test_ids_beyond_int64_are_one_line(run, folder, option, written):
    code, _, err = run("recommend", folder / "model.safetensors", option, written)
    assert (code, err.count("\n")) == (1, 1)
    assert "--user must" in err


def test_damaged_pairs_and_ids_name_their_file(run, folder, tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"PAR1 damaged")
    (tmp_path / "ids").write_bytes(b"\xff\xfe")
    code, _, err = run("predict", folder / "model.safetensors", tmp_path / "p.parquet")
    assert code == 1
    assert "p.parquet cannot be read as a Parquet file" in err
    args = ("--user", 103, "--candidates", tmp_path / "ids")
    code, _, err = run("recommend", folder / "model.safetensors", *args)
    assert code == 1
    assert "ids cannot be read as a file of ids" in err
