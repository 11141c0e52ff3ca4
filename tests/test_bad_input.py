"""What isthmus is given and must refuse: one row each, with the error and its sentence."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from isthmus import (
    CVAE,
    RBM,
    AutoRec,
    BiasedMF,
    Content,
    ConvergenceError,
    DualAutoRec,
    MultVAE,
    NotFittedError,
    Ratings,
    kfold,
    leave_one_out,
    mask_split,
    read_items,
    read_ratings,
    synthetic_ratings,
    train_test_split,
    write_ratings,
)
from isthmus.metrics import bias_baseline, rmse

SMALL = {"hidden_units": (4,), "epochs": 1, "random_state": 0, "num_threads": 1}

RATINGS = synthetic_ratings(12, 9, 60, random_state=0)
NAMED = Ratings.from_matrix(
    RATINGS.to_matrix(), user_ids=[f"u{i}" for i in range(12)], item_ids=range(100, 109)
)
MODEL = AutoRec(**SMALL).fit(RATINGS)
NAMED_MODEL = AutoRec(**SMALL).fit(NAMED)


def csr(value=3.0, dtype=None):
    """A matrix of 2 x 3 with one odd value."""
    data = np.array([1, value, 5], dtype)
    return sparse.csr_array((data, np.array([0, 2, 1]), np.array([0, 2, 3])), shape=(2, 3))


def with_indices(indices, indptr=(0, 2, 3)):
    matrix = csr()
    matrix.indices, matrix.indptr = np.array(indices), np.array(indptr)
    return matrix


def fit(X=RATINGS, **params):
    return lambda: AutoRec(**{**SMALL, **params}).fit(X)


def fit_dual(X=RATINGS, **params):
    return lambda: DualAutoRec(**{**SMALL, **params}).fit(X)


def arrays(users=(1, 2), items=(3, 4), ratings=(5, 6), **options):
    return lambda: Ratings.from_arrays(users, items, ratings, **options)


def frame(**columns):
    return lambda: Ratings.from_frame(pd.DataFrame(columns))


# name: what to call, the error, and the sentence (a regular expression)
TABLE = {
    # What a model is fitted to
    "dense array": (fit(np.ones((3, 4))), TypeError, r"X must be sparse.*numpy\.ndarray"),
    "list": (fit([[1, 2]]), TypeError, r"X must be Ratings or a scipy\.sparse array.*list"),
    "data frame": (
        fit(pd.DataFrame({"a": [1]})),
        TypeError,
        r"X must be Ratings or a scipy\.sparse array.*DataFrame; for a data frame there is",
    ),
    "None": (fit(None), TypeError, r"X must be Ratings or a scipy\.sparse array.*NoneType"),
    "NaN": (
        fit(csr(np.nan)),
        ValueError,
        r"X must hold finite values from -1e\+15 to 1e\+15.*1 of them is not.*nan at",
    ),
    "infinity": (
        fit(csr(np.inf)),
        ValueError,
        r"X must hold finite values from -1e\+15 to 1e\+15.*first is inf",
    ),
    "too large": (fit(csr(9e37)), ValueError, r"X must hold finite values.* first is 9e\+37"),
    "beyond float32": (
        fit(csr(1e300)),
        ValueError,
        r"X must hold finite values from -1e\+15 to 1e\+15.*1e\+300",
    ),
    "complex": (fit(csr(2j, complex)), TypeError, r"X must hold real numbers.*complex128"),
    "strings": (
        lambda: Ratings.from_arrays([1], [2], ["good"]),
        TypeError,
        r"ratings must hold real numbers, but its dtype is <U4",
    ),
    "empty matrix": (
        fit(sparse.csr_array((4, 5))),
        ValueError,
        r"X must hold at least one rating, but no cell is stored",
    ),
    "no users": (fit(sparse.csr_array((0, 5))), ValueError, r"X must hold at least one rating"),
    "one dimension": (
        fit(sparse.coo_array(np.array([1.0, 2.0]))),
        ValueError,
        r"X must have two dimensions, users x items, but its shape is \(2,\)",
    ),
    "negative column": (
        fit(with_indices([0, -1, 1])),
        ValueError,
        r"X\.indices must lie between 0 and 2, but they include -1",
    ),
    "column beyond the last": (
        fit(with_indices([0, 3, 1])),
        ValueError,
        r"X\.indices must lie between 0 and 2, but they include 3",
    ),
    "row pointers that decrease": (
        fit(with_indices([0, 2, 1], [0, 4, 3])),
        ValueError,
        r"X\.indptr must not decrease, but it does after row 1",
    ),
    "duplicate in a matrix": (
        fit(sparse.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(2, 2))),
        ValueError,
        r"a user may rate an item once.*user 0 and item 1; pass duplicates=",
    ),
    "padding that looks like ratings": (
        fit(sparse.bsr_array(np.eye(4), blocksize=(2, 2))),
        ValueError,
        r"its format is bsr, which fills up with zeros",
    ),
    "too many items": (
        lambda: Ratings.from_matrix(sparse.coo_array(([1.0], ([0], [0])), shape=(1, 2**31))),
        ValueError,
        r"at most 2,147,483,647 users and as many items",
    ),
    # Arrays and data frames
    "negative id": (
        arrays(users=[4, -7]),
        ValueError,
        r"users must be at least 0 where they are integers, but there is -7 at position 1",
    ),
    "huge id": (
        arrays(users=[1, 2**64]),
        ValueError,
        r"users must fit int64.*18446744073709551616",
    ),
    "float id": (arrays(items=[1.0, 2.0]), TypeError, r"items must be all integers or all strings"),
    "float ids in an array": (
        arrays(items=np.array([1.0, 2.5])),
        TypeError,
        r"items must be integers or strings, but their dtype is float64",
    ),
    "mixed ids": (
        arrays(users=[1, "b"]),
        TypeError,
        r"users must be all integers or all strings, but there is 'b' \(str\) at position 1",
    ),
    "empty id": (
        arrays(users=["a", ""]),
        ValueError,
        r"users must not be empty strings.*position 1",
    ),
    "boolean id": (arrays(users=[True, 2]), TypeError, r"there is True \(bool\) at position 0"),
    "lengths that differ": (
        arrays(items=[1, 2, 3]),
        ValueError,
        r"items must have one entry for each of users, 2, but it has 3",
    ),
    "a table for a column": (
        arrays(users=np.ones((2, 2), int)),
        ValueError,
        r"users must have one dimension, but its shape is \(2, 2\)",
    ),
    "no ratings": (arrays([], [], []), ValueError, r"ratings must hold at least one rating"),
    "duplicate": (
        arrays([1, 1], [3, 3], [4, 5]),
        ValueError,
        r"1 rating repeats an earlier pair, first that of user 1 and item 3; pass duplicates=",
    ),
    "unknown policy": (
        arrays(duplicates="first"),
        ValueError,
        r"duplicates must be one of 'error', 'mean', 'sum', 'last', but it was 'first'",
    ),
    "an id that is not listed": (
        arrays(user_ids=[1, 3]),
        ValueError,
        r"users must be among the 2 user ids of the ratings, but 2 is not",
    ),
    "a listed id twice": (
        arrays(user_ids=[1, 2, 1]),
        ValueError,
        r"user_ids must be unique, but 1 occurs 2 times",
    ),
    "timestamp of half a second": (
        arrays(timestamps=[1.0, 2.5]),
        ValueError,
        r"timestamps must be whole seconds",
    ),
    "no column of users": (
        frame(movieId=[1], rating=[2]),
        ValueError,
        r"df has no column known to be the user; its columns are movieId, rating: name it",
    ),
    "no column of ratings": (
        frame(userId=[1], movieId=[2]),
        ValueError,
        r"df has no column known to be the rating.*pass implicit=True",
    ),
    "missing id": (
        lambda: Ratings.from_frame(
            pl.DataFrame({"user": [1, None], "item": [1, 2], "rating": [1, 2]})
        ),
        ValueError,
        r"column 'user' must have no missing values, but it has 1, the first in row 1",
    ),
    "rating that is text": (
        frame(user=[1], item=[2], rating=["5 stars"]),
        TypeError,
        r"column 'rating' must hold numbers, but its type is",
    ),
    "empty frame": (
        frame(user=[], item=[], rating=[]),
        ValueError,
        r"df must hold at least one rating, but it has no rows",
    ),
    # Parameters
    "orientation": (
        fit(orientation="items"),
        ValueError,
        r"orientation must be one of 'item', 'user', but it was 'items'",
    ),
    "no layers": (fit(hidden_units=()), ValueError, r"hidden_units must be the units of at least"),
    "a layer of 0": (
        fit(hidden_units=(5, 0)),
        ValueError,
        r"every entry of hidden_units must be an integer from 1 to 1,000,000, but it was 0",
    ),
    "units whose memory overflows": (
        fit(hidden_units=(2**58,)),
        ValueError,
        r"every entry of hidden_units must be an integer from 1 to 1,000,000, but it was 2882",
    ),
    "units beyond memory": (
        fit(hidden_units=(10**6, 10**6)),
        MemoryError,
        r"a matrix of 1000000 x 1000000 numbers needs 3725 GiB, and this machine has",
    ),
    "factors whose memory overflows": (
        lambda: BiasedMF(factors=2**58).fit(RATINGS),
        ValueError,
        r"factors must be an integer from 1 to 1,000,000",
    ),
    "latent units whose memory overflows": (
        lambda: CVAE(latent_units=2**58).fit(RATINGS),
        ValueError,
        r"latent_units must be an integer from 1 to 1,000,000",
    ),
    "decoder units whose memory overflows": (
        lambda: MultVAE(decoder_units=(2**58,)).fit(RATINGS),
        ValueError,
        r"every entry of decoder_units must be an integer from 1 to 1,000,000",
    ),
    "units of an RBM whose memory overflows": (
        lambda: RBM(hidden_units=2**58).fit(RATINGS),
        ValueError,
        r"hidden_units must be an integer from 1 to 1,000,000",
    ),
    "features beyond int32": (
        lambda: Content(sparse.coo_array(([1.0], ([0], [2**31])), shape=(2, 2**31 + 1))),
        ValueError,
        r"content must have at most 2,147,483,647 items and as many features",
    ),
    "a batch beyond int64": (
        fit(batch_size=2**64),
        ValueError,
        r"batch_size must be an integer from 1 to 2,147,483,647, but it was 18446744073709551616",
    ),
    "epochs too long to write": (
        fit(epochs=10**5000),
        ValueError,
        r"epochs must be an integer from 1 to 2,147,483,647, but it was an integer of 16,610 bits",
    ),
    "a regularization beyond float64": (
        fit(regularization=10**5000),
        ValueError,
        r'regularization must be a finite number of at least 0 or "auto", in float32, which ends',
    ),
    "half a unit": (fit(hidden_units=(2.5,)), TypeError, r"must be an integer.*2\.5 \(float\)"),
    "units as text": (fit(hidden_units="50"), ValueError, r"hidden_units must be the units"),
    "encoder_activation": (
        fit(encoder_activation="Sigmoid"),
        ValueError,
        r"encoder_activation must be one of 'identity', 'sigmoid', .* but it was 'Sigmoid'",
    ),
    "decoder_activation": (
        fit(decoder_activation=None),
        ValueError,
        r"decoder_activation must be one of .* but it was None",
    ),
    "a bounded output with centring": (
        fit(decoder_activation="sigmoid"),
        ValueError,
        r"target_centering must be \"none\" with decoder_activation='sigmoid'",
    ),
    "regularization": (
        fit(regularization=-1),
        ValueError,
        r'regularization must be a finite number of at least 0 or "auto", but it was -1',
    ),
    "infinite regularization": (
        fit(regularization=np.inf),
        ValueError,
        r"regularization must be a finite number.*inf",
    ),
    "initial deviation": (
        fit(initial_deviation=0),
        ValueError,
        r"initial_deviation must be a finite number above 0 or None, but it was 0",
    ),
    "hidden regularization": (
        fit(hidden_regularization=-1),
        ValueError,
        r"hidden_regularization must be a finite number of at least 0 or None, but it was -1",
    ),
    "pretraining of a shallow model": (
        fit(pretraining_epochs=2),
        ValueError,
        r"hidden_units must be an odd number of at least 3 .* with pretraining_epochs=2, but it",
    ),
    "pretraining of a lopsided model": (
        fit(pretraining_epochs=2, hidden_units=(8, 4, 6)),
        ValueError,
        r"read the same in both directions, as \(500, 250, 500\), .* but it was \(8, 4, 6\)",
    ),
    "pretraining_epochs": (
        fit(pretraining_epochs=-1),
        ValueError,
        r"pretraining_epochs must be an integer of at least 0, but it was -1",
    ),
    "optimizer": (fit(optimizer="newton"), ValueError, r"optimizer must be one of 'adam'"),
    "learning_rate of 0": (
        fit(learning_rate=0),
        ValueError,
        r"learning_rate must be a finite number above 0, but it was 0",
    ),
    "learning_rate as text": (
        fit(learning_rate="0.1"),
        TypeError,
        r"learning_rate must be a finite number above 0, but it was '0\.1' \(str\)",
    ),
    "learning_rate_decay": (
        fit(learning_rate_decay=1.5),
        ValueError,
        r"learning_rate_decay must be .* above 0 and of at most 1, but it was 1\.5",
    ),
    "huge batch_size": (
        fit(batch_size=2**64),
        ValueError,
        r"batch_size must be an integer from 1 to 2,147,483,647, but it was 18446744073709551616",
    ),
    "batch_size": (fit(batch_size=0), ValueError, r"batch_size must be an integer of at least 1"),
    "batch_size word": (
        *(fit(batch_size="all"), TypeError),
        r'batch_size must be an integer of at least 1, "auto" or None, but it was \'all\'',
    ),
    "epochs": (fit(epochs=2.0), TypeError, r"epochs must be an integer .* 2\.0 \(float\)"),
    "epochs as a boolean": (fit(epochs=True), TypeError, r"epochs must be an integer.*\(bool\)"),
    "corruption": (
        fit(corruption=1),
        ValueError,
        r"corruption must be a finite number of at least 0 and below 1, but it was 1",
    ),
    "corruption_kind": (fit(corruption_kind="salt"), ValueError, r"corruption_kind must be one of"),
    "dropout": (fit(dropout=-0.1), ValueError, r"dropout must be .* at least 0 and below 1"),
    "input_centering": (fit(input_centering=True), ValueError, r"input_centering must be one of"),
    "target_centering": (fit(target_centering=None), ValueError, r"target_centering must be one"),
    "target_centering word": (
        fit(target_centering="bias"),
        ValueError,
        r"target_centering must be one of 'biases', 'none', 'global', 'row', but it was 'bias'",
    ),
    "input_centering by biases": (
        fit(input_centering="biases"),
        ValueError,
        r"input_centering must be one of 'none', 'global', 'row', but it was 'biases'",
    ),
    "precision": (
        fit(precision="float16"),
        ValueError,
        r"precision must be one of 'auto', 'float32', 'bfloat16', but it was 'float16'",
    ),
    "precision of rprop": (
        fit(precision="bfloat16", optimizer="rprop"),
        ValueError,
        r"precision must be \"auto\" or \"float32\" with optimizer='rprop', but it was 'bfloat16'",
    ),
    "rating_scale": (
        fit(rating_scale="standardised"),
        ValueError,
        r"rating_scale must be one of 'standard', 'raw', but it was 'standardised'",
    ),
    "rating_scale as a boolean": (
        fit(rating_scale=True),
        ValueError,
        r"rating_scale must be one of 'standard', 'raw', but it was True",
    ),
    "row_scaling": (
        fit(row_scaling=1.5),
        ValueError,
        r"row_scaling must be a finite number of at least 0 and of at most 1, but it was 1\.5",
    ),
    "row_scaling of NaN": (
        fit(row_scaling=np.nan),
        ValueError,
        r"row_scaling must be a finite number of at least 0 and of at most 1, but it was nan",
    ),
    "row_scaling as text": (fit(row_scaling="0.5"), TypeError, r"row_scaling must be .*\(str\)"),
    "learning_rate_schedule": (
        fit(learning_rate_schedule="cosine"),
        ValueError,
        r"learning_rate_schedule must be one of 'linear', 'exponential', but it was 'cosine'",
    ),
    "learning_rate_schedule of none": (
        fit(learning_rate_schedule=None),
        ValueError,
        r"learning_rate_schedule must be one of .* but it was None",
    ),
    "regularization word": (
        fit(regularization="none"),
        TypeError,
        r'regularization must be a finite number of at least 0 or "auto", but it was \'none\'',
    ),
    # Those of both parts
    "no layers of both parts": (
        fit_dual(hidden_units=()),
        ValueError,
        r"hidden_units must be the units of at least",
    ),
    "regularization of both parts": (
        fit_dual(regularization=-0.5),
        ValueError,
        r'regularization must be a finite number of at least 0 or "auto", but it was -0\.5',
    ),
    "regularization word of both parts": (
        fit_dual(regularization="automatic"),
        TypeError,
        r'regularization must be .* or "auto", but it was \'automatic\'',
    ),
    "learning_rate of both parts": (
        fit_dual(learning_rate=0),
        ValueError,
        r"learning_rate must be a finite number above 0, but it was 0",
    ),
    "no batch_size of both parts": (
        fit_dual(batch_size=None),
        TypeError,
        r'batch_size must be an integer of at least 1 or "auto", but it was None',
    ),
    "corruption of both parts": (
        fit_dual(corruption=1.0),
        ValueError,
        r"corruption must be a finite number of at least 0 and below 1, but it was 1\.0",
    ),
    "default_rating of both parts": (
        fit_dual(default_rating="3"),
        TypeError,
        r"default_rating must be a finite number.*'3' \(str\)",
    ),
    "orientation of both parts": (
        lambda: DualAutoRec(orientation="user"),
        TypeError,
        r"unexpected keyword argument 'orientation'|positional",
    ),
    "validation of both parts of other items": (
        lambda: DualAutoRec(**SMALL).fit(RATINGS, validation=Ratings.from_arrays([1], [77], [5])),
        ValueError,
        r"items of validation must be among the 9 item ids of the ratings, but 77 is not",
    ),
    "divergence of both parts": (
        fit_dual(learning_rate=1e38, epochs=50, batch_size=4),
        ConvergenceError,
        r"diverged in epoch \d+.*learning_rate \(it is 1e\+38\)",
    ),
    "default_rating beyond float32": (
        fit(default_rating=1e300),
        ValueError,
        r"default_rating must be a finite number or None, in float32, which ends at 3\.4e\+38, but",
    ),
    "default_rating": (fit(default_rating=np.nan), ValueError, r"default_rating must be a finite"),
    "validation_fraction": (
        fit(validation_fraction=1),
        ValueError,
        r"validation_fraction must be a finite number above 0 and below 1 or None, but it was 1",
    ),
    "validation_fraction of too little": (
        fit(validation_fraction=0.001),
        ValueError,
        r"validation_fraction must leave ratings in both parts, but 0\.001 takes 0 of 60",
    ),
    "patience of 0": (fit(patience=0), ValueError, r"patience must be an integer of at least 1"),
    "patience without data": (fit(patience=2), ValueError, r"patience needs validation data"),
    "random_state": (
        fit(random_state=-1),
        ValueError,
        r"random_state must lie in \[0, 2\*\*64\) if it is an integer, but it was -1",
    ),
    "random_state of the old kind": (
        fit(random_state=np.random.RandomState(0)),
        TypeError,
        r"random_state must be an integer, a numpy\.random\.Generator or None.*RandomState",
    ),
    "num_threads": (fit(num_threads=-1), ValueError, r"num_threads must be an integer from 0"),
    "num_threads as text": (
        fit(num_threads="all"),
        TypeError,
        r"num_threads must .*'all' \(str\)",
    ),
    "unknown parameter": (
        lambda: AutoRec().set_params(colour="red"),
        ValueError,
        r"AutoRec has no parameter 'colour'; it has orientation, hidden_units",
    ),
    "positional parameter": (lambda: AutoRec("item"), TypeError, r"positional argument"),
    "divergence": (
        fit(
            encoder_activation="identity",
            optimizer="sgd",
            learning_rate=100.0,
            epochs=50,
        ),
        ConvergenceError,
        r"diverged in epoch \d+.*learning_rate \(it is 100\)",
    ),
    "huge n": (
        lambda: MODEL.recommend(1, n=2**63),
        ValueError,
        r"n must be an integer from 1 to 2,147,483,647, but it was",
    ),
    "k-core of words": (
        lambda: RATINGS.k_core("a", 2),
        TypeError,
        r"users must be an integer of at least 0, but it was 'a'",
    ),
    # Validation and test data
    "validation of other items": (
        lambda: AutoRec(**SMALL).fit(RATINGS, validation=Ratings.from_arrays([1], [77], [5])),
        ValueError,
        r"items of validation must be among the 9 item ids of the ratings, but 77 is not",
    ),
    "validation of another shape": (
        lambda: AutoRec(**SMALL).fit(RATINGS, validation=csr()),
        ValueError,
        r"validation must be a matrix of 12 users x 9 items.*shape is \(2, 3\)",
    ),
    "transposed test matrix": (
        lambda: MODEL.evaluate(RATINGS.to_matrix().T),
        ValueError,
        r"test must be a matrix of 12 users x 9 items.*its shape is \(9, 12\)",
    ),
    "test of unknown users": (
        lambda: MODEL.evaluate(Ratings.from_arrays([99], [1], [5])),
        ValueError,
        r"users of test must be among the 12 user ids of the ratings, but 99 is not",
    ),
    # Prediction
    "not fitted": (lambda: AutoRec().predict(1, 1), NotFittedError, r"This AutoRec is not fitted"),
    "unknown user": (lambda: MODEL.predict(12, 0), ValueError, r"users must be among .* 12 is not"),
    "unknown items": (
        lambda: MODEL.predict(1, [3, 50, 60]),
        ValueError,
        r"items must be among the 9 item ids of the ratings, but 50 \(and 1 more\) are not",
    ),
    "negative user": (lambda: MODEL.predict(-1, 0), ValueError, r"users must be at least 0"),
    "string for an integer": (
        lambda: MODEL.predict("3", 0),
        ValueError,
        r"users must be integers, as the user ids .* but '3' is a string",
    ),
    "integer for a string": (
        lambda: NAMED_MODEL.predict(3, 100),
        ValueError,
        r"users must be strings, as the user ids .*'u0'\), but 3 is an integer",
    ),
    "float user": (lambda: MODEL.predict(np.float64(3), 0), TypeError, r"users must be integers"),
    "shapes that do not fit": (
        lambda: MODEL.predict([1, 2, 3], [1, 2]),
        ValueError,
        r"users and items must have shapes that fit each other, but they are \(3,\) and \(2,\)",
    ),
    # Recommendation
    "n of 0": (lambda: MODEL.recommend(1, n=0), ValueError, r"n must be an integer of at least 1"),
    "n as a float": (lambda: MODEL.recommend(1, n=2.0), TypeError, r"n must be an integer"),
    "unknown candidate": (
        lambda: MODEL.recommend(1, candidates=[3, 44]),
        ValueError,
        r"candidates must be among the 9 item ids of the ratings, but 44 is not",
    ),
    "users and ratings": (
        lambda: MODEL.recommend(1, ratings=RATINGS),
        ValueError,
        r"users and ratings must not both be given",
    ),
    "ratings of another width": (
        lambda: MODEL.recommend(ratings=csr()),
        ValueError,
        r"ratings must have 9 items, as the model has, but it is a matrix of 2 users x 3 items",
    ),
    "dense ratings": (
        lambda: MODEL.recommend(ratings=np.ones((1, 9))),
        TypeError,
        r"ratings must be sparse",
    ),
    "a dense test": (lambda: MODEL.evaluate(np.ones((12, 9))), TypeError, r"test must be sparse"),
    # Folding in, and training on
    "known users folded in": (
        lambda: MODEL.fold_in(RATINGS),
        ValueError,
        r"the users of X must be new to the model, but it knows 0 already",
    ),
    "users folded in without ids": (
        lambda: NAMED_MODEL.fold_in(RATINGS.to_matrix()),
        ValueError,
        r"X must come with user ids, since the model's are strings, as 'u0'",
    ),
    "users folded in with ids of another type": (
        lambda: NAMED_MODEL.fold_in(Ratings.from_arrays([5], [100], [3])),
        ValueError,
        r"the user ids of X must be of the type of the model's, as 'u0', but one is 5",
    ),
    "users folded in where integers end": (
        lambda: (
            AutoRec(**SMALL)
            .fit(Ratings.from_arrays([0, 2**63 - 2], [0, 1], [3, 4]))
            .fold_in(csr()[:, :2])
        ),
        ValueError,
        r"since the model's go up to 9223372036854775806, and int64 cannot hold 2 more",
    ),
    "axis": (
        lambda: MODEL.fold_in(RATINGS, axis="row"),
        ValueError,
        r"axis must be one of 'user', 'item', but it was 'row'",
    ),
    "new items of unknown users": (
        lambda: MODEL.fold_in(Ratings.from_arrays([99], [50], [5]), axis="item"),
        ValueError,
        r"users of X must be among the 12 user ids of the ratings, but 99 is not",
    ),
    "partial_fit of others": (
        lambda: MODEL.partial_fit(csr()),
        ValueError,
        r"X must be a matrix of 12 users x 9 items, .* but its shape is \(2, 3\)",
    ),
    "partial_fit of no epochs": (
        lambda: MODEL.partial_fit(RATINGS, epochs=0),
        ValueError,
        r"epochs must be an integer of at least 1, but it was 0",
    ),
    # Splits and metrics
    "test_size": (
        lambda: train_test_split(RATINGS, test_size=1.0),
        ValueError,
        r"test_size must lie between 0 and 1 as a share, but it was 1\.0",
    ),
    "split by time without times": (
        lambda: train_test_split(RATINGS, by="time"),
        ValueError,
        r"ratings must have timestamps to be split by time",
    ),
    "one fold": (lambda: kfold(RATINGS, 1), ValueError, r"n_splits must be an integer from 2 to"),
    "leave one out of one": (
        lambda: leave_one_out(csr().T.tocsr()[:, [1]].T.tocsr()),
        ValueError,
        r"ratings must have a user with two ratings or more",
    ),
    "mask that takes all": (
        lambda: mask_split(RATINGS, np.ones(60, bool)),
        ValueError,
        r"mask must leave ratings in both parts, but it marks all",
    ),
    "errors of NaN": (lambda: rmse([1, 2], [1, np.nan]), ValueError, r"prediction must be finite"),
    "baseline of other users": (
        lambda: bias_baseline(RATINGS, csr()),
        ValueError,
        r"train and test must have the same users and items.*\(12, 9\) and \(2, 3\)",
    ),
    "more ratings than cells": (
        lambda: synthetic_ratings(2, 2, 5),
        ValueError,
        r"n_ratings must be at most n_users x n_items, 4, but it was 5",
    ),
}

# content of a file: what to call with its path, the error, and the sentence
FILES = {
    "missing": (None, read_ratings, FileNotFoundError, r"file must be a file, but there is none"),
    "empty": (
        b"",
        read_ratings,
        ValueError,
        r"file must hold at least one rating, but it is empty",
    ),
    "only a header": (b"user,item,rating\n", read_ratings, ValueError, r"it has only a header"),
    "too few fields": (
        b"1,2,3\n4,5\n",
        read_ratings,
        ValueError,
        r"file, line 2: there must be 3 fields separated by ',', but there are 2: '4,5'",
    ),
    "a rating that is none": (
        b"1::2::3\n1::3::x\n",
        read_ratings,
        ValueError,
        r"file, line 2: the rating must be a finite number, but it is 'x'",
    ),
    "a rating of NaN": (b"1,2,3\n1,3,nan\n", read_ratings, ValueError, r"line 2: the rating must"),
    "an empty user": (b"1,2,3\n,3,4\n", read_ratings, ValueError, r"line 2: the user must not be"),
    "latin-1": (
        b"user,item,rating\nJos\xe9,3,4\n",
        read_ratings,
        ValueError,
        r"line 2: the user must be utf-8 text.*pass another encoding",
    ),
    "binary": (b"\0\1\2" * 99, read_ratings, ValueError, r"it is another binary file"),
    "an item without a title": (b"1::A\n2\n", read_items, ValueError, r"file, line 2: there must"),
    "no model": (b"1,2,3\n" * 9, AutoRec.load, ValueError, r"file is no model file, or a damaged"),
    "no file of a model": (None, AutoRec.load, FileNotFoundError, r"file does not exist"),
    "a folder for a file": (
        None,
        lambda path: write_ratings(RATINGS, path.parent, format="csv"),
        IsADirectoryError,
        r"cannot be written: it is a folder",
    ),
    "ids that a text file would not keep": (
        None,
        lambda path: write_ratings(Ratings.from_arrays([" a"], [1], [2]), path, format="csv"),
        ValueError,
        r"user_ids must not begin or end with spaces in a text file, but one is ' a'; write Par",
    ),
    "unknown format": (
        None,
        lambda path: write_ratings(RATINGS, path),
        ValueError,
        r"format must be csv, tsv, parquet or npz, but for .*file it was ''",
    ),
}


@pytest.mark.parametrize(("call", "error", "message"), TABLE.values(), ids=TABLE)
def test_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert type(caught.value) is error
    if "positional" not in message:  # which is Python's own
        assert str(caught.value).endswith((".", ")"))


@pytest.mark.parametrize(("content", "call", "error", "message"), FILES.values(), ids=FILES)
def test_refused_file(tmp_path, content, call, error, message):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        call(tmp_path / "file")
    assert type(caught.value) is error


def test_a_refusal_leaves_a_fitted_model_as_it_was():
    before = MODEL.predict(RATINGS.user_ids[:, np.newaxis], RATINGS.item_ids)
    for call, error, message in TABLE.values():
        with pytest.raises(error, match=message):
            call()
    after = MODEL.predict(RATINGS.user_ids[:, np.newaxis], RATINGS.item_ids)
    np.testing.assert_array_equal(before, after)


def test_the_table_is_long_enough():
    assert len(TABLE) + len(FILES) >= 100
