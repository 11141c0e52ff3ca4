"""Receipts of training, and what can be checked by them."""

import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse
from test_models import CASES, is_random, maker
from test_persistence import DATA, description, rewrite

from isthmus import (
    CVAE,
    EASE,
    AutoRec,
    BiasedMF,
    Blend,
    Content,
    MultDAE,
    Ratings,
    Recommender,
    build_info,
    hold_out_users,
    synthetic_ratings,
    train_test_split,
    verify,
    write_ratings,
)
from isthmus.data._fingerprint import fingerprint
from isthmus.verification import differences

QUICK = {"hidden_units": (4,), "epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def ratings():
    return synthetic_ratings(50, 40, 700, random_state=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def changed(ratings, place=17):
    """The same, but for one rating."""
    users, items, values, _ = ratings.to_arrays()
    values = values.copy()
    values[place] = 5 if values[place] != 5 else 4
    return Ratings.from_arrays(users, items, values)


def permuted(ratings):
    """The same, its users, items and ratings in another order, and a user without ratings."""
    random = np.random.default_rng(0)
    users, items = random.permutation(ratings.user_ids), random.permutation(ratings.item_ids)
    own_users, own_items, values, _ = ratings.to_arrays()
    order = random.permutation(ratings.nnz)
    return Ratings.from_arrays(
        *(array[order] for array in (own_users, own_items, values)),
        user_ids=[*users, 10_000],
        item_ids=items,
    )


class TestFingerprint:
    def test_does_not_depend_on_any_order(self, ratings):
        assert fingerprint(permuted(ratings)) == fingerprint(ratings)

    def test_stays_as_it_is(self):
        # files hold it
        small = Ratings.from_arrays([3, 1], [20, 10], [4.5, 0.0])
        assert fingerprint(small) == "c192a32431df59f3713b6da18a465eed"
        named = Ratings.from_arrays(["ü", "b"], ["x", "y"], [4.5, 0.0])
        assert fingerprint(named) == "d27430ef93809883a79ddf8aa0ff40e5"

    def test_sees_every_change(self, ratings):
        known = {fingerprint(ratings)}
        users, items, values, _ = ratings.to_arrays()
        for place in range(0, ratings.nnz, 7):
            one = values.copy()
            one[place] = np.nextafter(one[place], 9)
            known.add(fingerprint(Ratings.from_arrays(users, items, one)))
            known.add(fingerprint(ratings.select(np.arange(ratings.nnz) != place)))
        assert len(known) == 1 + 2 * len(range(0, ratings.nnz, 7))

    def test_sees_ratings_that_change_places(self, ratings):
        users, items, values, _ = ratings.to_arrays()
        assert fingerprint(Ratings.from_arrays(users, items, values[::-1])) != fingerprint(ratings)
        assert fingerprint(Ratings.from_arrays(items, users, values)) != fingerprint(ratings)

    def test_tells_numbers_from_strings(self):
        numbers = Ratings.from_arrays([1, 2], [3, 4], [1, 2])
        strings = Ratings.from_arrays(["1", "2"], ["3", "4"], [1, 2])
        assert fingerprint(numbers) != fingerprint(strings)

    def test_takes_both_zeros_for_one(self):
        plus, minus = (Ratings.from_arrays([1], [2], [zero]) for zero in (0.0, -0.0))
        assert fingerprint(plus) == fingerprint(minus)


class TestReceipt:
    def test_says_how_a_model_was_trained(self, ratings, path):
        train, held_out = train_test_split(ratings, random_state=0)
        model = AutoRec(**{**QUICK, "random_state": None}).fit(train, validation=held_out)
        model.save(path)
        receipt = AutoRec.load(path).receipt_
        assert receipt == model.receipt_
        assert receipt.data == fingerprint(train)
        assert receipt.validation == fingerprint(held_out)
        assert (receipt.users, receipt.items, receipt.ratings) == (50, 40, train.nnz)
        assert (receipt.version, receipt.isa) == (build_info()["version"], build_info()["isa"])
        assert receipt.seed == model._seed
        assert receipt.wall_seconds > 0
        assert receipt.processor_seconds > 0
        assert receipt.steps == ("fit",)

    def test_keeps_what_came_after_fit(self, ratings, path):
        model = AutoRec(**QUICK).fit(ratings)
        model.partial_fit(ratings).partial_fit(ratings)
        model.fold_in(Ratings.from_arrays([99], [3], [4.0]))
        assert model.receipt_.steps == ("fit", "partial_fit", "fold_in")
        model.fit(ratings)
        assert model.receipt_.steps == ("fit",)

    def test_says_that_training_was_cut_short(self, ratings):
        def interrupt(epoch):
            raise KeyboardInterrupt

        model = AutoRec(**QUICK)
        with pytest.raises(KeyboardInterrupt):
            model.fit(ratings, callbacks=[interrupt])
        assert model.receipt_.steps == ("fit", "interruption")

    @pytest.mark.parametrize(
        "changes",
        [
            {"data": "x"},
            {"data": 3},
            {"users": 0},
            {"ratings": 1.5},
            {"seed": -1},
            {"seed": "0"},
            {"isa": None},
            {"version": "1" * 1000},
            {"wall_seconds": -1},
            {"wall_seconds": float("inf")},
            {"steps": []},
            {"steps": ["partial_fit"]},
            {"steps": ["fit", "dance"]},
            {"steps": "fit"},
            {"more": 1},
        ],
    )
    def test_that_is_damaged_is_refused(self, ratings, path, changes):
        EASE(regularization=5.0).fit(ratings).save(path)
        receipt = {**description(path)["receipt"], **changes}
        rewrite(path, metadata={"receipt": receipt})
        with pytest.raises(ValueError, match=r"is damaged: .*receipt"):
            Recommender.load(path)

    def test_is_not_needed(self, ratings, path):
        old = sorted(DATA.glob("format_4/EASE.safetensors"))[0]
        model = Recommender.load(old)
        assert model.receipt_ is None
        model.save(path)
        assert Recommender.load(path).receipt_ is None
        found = verify(old, ratings)
        assert (found.same_data, found.same_bits, bool(found)) == (None, None, False)
        assert "no receipt" in str(found)


@pytest.mark.parametrize("case", CASES)
def test_every_model_is_verified(case, ratings, path):
    model, settings = case
    maker(model, settings)().fit(ratings).save(path)
    found = verify(path, permuted(ratings), num_threads=2)
    assert (found.same_data, found.same_bits) == (True, True), str(found)
    found = verify(path, changed(ratings))
    assert (found.same_data, found.same_bits) == (False, False)
    assert "are not those that the model was trained on" in str(found)


@pytest.mark.parametrize("case", [case for case in CASES if is_random(case.values[0][0])])
def test_without_a_seed_the_one_that_was_drawn_is_kept(case, ratings, path):
    model, settings = case
    maker(model, {**settings, "random_state": None})().fit(ratings).save(path)
    assert verify(path, ratings).same_bits


def test_weights_in_half_the_room_are_those_of_training_rounded(ratings, path):
    AutoRec(**QUICK).fit(ratings).save(path, precision="bfloat16")
    assert verify(path, ratings).same_bits


def test_another_weight_is_found(ratings, path):
    model = AutoRec(**QUICK).fit(ratings)
    model._trained.network.weights()["encoder.weights"][3, 1] += np.float32(1e-6)
    model.save(path)
    found = verify(path, ratings)
    assert (found.same_data, found.same_bits) == (True, False)
    assert "gave other bits, in encoder.weights" in str(found)


def test_early_stopping_needs_its_validation_data(ratings, path):
    train, held_out = train_test_split(ratings, random_state=0)
    model = AutoRec(**{**QUICK, "epochs": 20}, patience=1, learning_rate=0.1)
    model.fit(train, validation=held_out).save(path)
    assert verify(path, train, validation=held_out).same_bits
    assert "without the validation data" in str(verify(path, train))
    assert verify(path, train).same_bits is None
    assert verify(path, train, validation=changed(held_out, 3)).same_bits is None


def test_held_out_users_are_validation_data(ratings, path):
    split = hold_out_users(ratings, test_users=10, random_state=0)
    model = MultDAE(**QUICK, patience=1).fit(split.train, validation=split.test)
    model.save(path)
    assert verify(path, split.train, validation=split.test).same_bits


def test_epochs_that_a_callback_ended(ratings, path):
    model = AutoRec(**{**QUICK, "epochs": 9})
    model.fit(ratings, callbacks=[lambda epoch: epoch.index == 2]).save(path)
    assert verify(path, ratings).same_bits
    AutoRec(**QUICK).partial_fit(ratings, epochs=5).save(path)
    assert verify(path, ratings).same_bits


def test_content_is_in_the_file(ratings, path):
    words = sparse.random_array((40, 9), density=0.3, rng=np.random.default_rng(0), format="csr")
    content = Content(words, vocabulary=[f"w{n}" for n in range(9)])
    CVAE(**QUICK, latent_units=3).fit(ratings, content=content).save(path)
    assert verify(path, ratings).same_bits


def test_what_came_after_fit_cannot_be_checked(ratings, path):
    model = AutoRec(**QUICK).fit(ratings).partial_fit(ratings)
    model.save(path)
    found = verify(path, ratings)
    assert (found.same_data, found.same_bits) == (True, None)
    assert "after fit there was partial_fit" in str(found)
    later = verify(path, changed(ratings))
    assert "not those of what came later: partial_fit." in str(later)


def test_a_blend_of_models_without_seeds(ratings, path):
    Blend([BiasedMF(factors=2, epochs=1)], random_state=0).fit(ratings).save(path)
    assert "the blend's BiasedMF was trained without a seed" in str(verify(path, ratings))


@pytest.mark.parametrize("field", ["version", "isa"])
def test_another_program_may_prove_but_not_disprove(field, ratings, path):
    model = AutoRec(**QUICK).fit(ratings)
    model._receipt = dataclasses.replace(model._receipt, **{field: "other"})
    model.save(path)
    assert verify(path, ratings).same_bits
    model._trained.network.weights()["encoder.weights"][3, 1] += np.float32(1e-6)
    model.save(path)
    found = verify(path, ratings)
    assert found.same_bits is None
    assert "other" in found.findings[1]
    assert "which says nothing" in found.findings[1]


class TestDifferences:
    def test_of_the_same_training(self, ratings):
        assert differences(*(AutoRec(**QUICK).fit(ratings) for _ in range(2))) == []

    def test_name_parameters_data_and_weights(self, ratings):
        one = AutoRec(**QUICK).fit(ratings)
        other = AutoRec(**{**QUICK, "random_state": 1}).fit(changed(ratings))
        lines = differences(one, other)
        assert "parameter random_state: 0 and 1" in lines
        assert f"receipt data: {fingerprint(ratings)} and {fingerprint(changed(ratings))}" in lines
        assert any(line.startswith("array encoder.weights: ") for line in lines)
        grown = AutoRec(**QUICK).fit(ratings).fold_in(Ratings.from_arrays([99], [3], [4.0]))
        assert "users: 50 and 51, of which 50 are in both" in differences(one, grown)
        assert any("shapes (50, 4) and (51, 4)" in line for line in differences(one, grown))

    def test_of_other_models(self, ratings):
        models = AutoRec(**QUICK).fit(ratings), EASE(regularization=3.0).fit(ratings)
        assert differences(*models) == ["model: AutoRec and EASE"]


def run(*args):
    done = subprocess.run(
        [sys.executable, "-m", "isthmus", *map(str, args)], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_the_program_verifies_and_compares(ratings, tmp_path):
    write_ratings(ratings, tmp_path / "all.csv")
    write_ratings(changed(ratings), tmp_path / "changed.csv")
    for seed, name in enumerate(("one", "two")):
        options = ("--hidden-units", 4, "--epochs", 2, "--random-state", seed)
        assert run("train", tmp_path / "all.csv", *options, "-o", tmp_path / name)[0] == 0
    assert run("verify", tmp_path / "one", tmp_path / "all.csv") == (
        0,
        "The ratings are those that the model was trained on.\n"
        "Training again gave the same bits.\n",
        "",
    )
    code, out, _ = run("verify", tmp_path / "one", tmp_path / "changed.csv")
    assert (code, out.startswith("The ratings are not those")) == (1, True)
    assert run("diff", tmp_path / "one", tmp_path / "one") == (0, "the models are the same\n", "")
    code, out, _ = run("diff", tmp_path / "one", tmp_path / "two")
    assert code == 1
    assert "parameter random_state: 0 and 1" in out
    code, out, _ = run("info", tmp_path / "one")
    assert re.search(f"^receipt data +{fingerprint(ratings)}$", out, re.M)
