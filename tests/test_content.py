"""Content of items: how it is read, scaled, joined to items, and refused."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import sparse

from isthmus import Content
from isthmus.data._ids import IdIndex

PAPERS = {
    "item": [5, 2, 9],
    "tokens": [["deep", "net", "deep", "learning"], [], ["net"]],
}
DENSE = [[1, 0.5, 0.5], [0, 0, 0], [0, 0, 1]]  # deep, learning, net


def dense(content):
    return content.to_matrix().toarray()


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame, pa.table])
def test_token_lists_become_counts_divided_by_the_greatest(frame):
    content = Content.from_frame(frame(PAPERS))
    assert content.vocabulary.tolist() == ["deep", "learning", "net"]
    assert content.item_ids.tolist() == [5, 2, 9]
    np.testing.assert_array_equal(dense(content), DENSE)


def test_columns_may_have_any_names_and_lists_may_be_missing():
    table = pa.table({"paper": ["b", "a"], "words": [["x"], None]})
    content = Content.from_frame(table, item="paper", tokens="words")
    np.testing.assert_array_equal(dense(content), [[1], [0]])
    assert content.item_ids.tolist() == ["b", "a"]


def test_columns_may_have_integers_for_names():
    frame = pd.DataFrame([[["x"], "b", 0], [["y"], "a", 0]])
    content = Content.from_frame(frame, item=1, tokens=0)
    assert content.item_ids.tolist() == ["b", "a"]
    assert content.vocabulary.tolist() == ["x", "y"]


def test_a_vocabulary_keeps_its_order_and_drops_other_words():
    content = Content.from_frame(pa.table(PAPERS), vocabulary=["net", "cat", "deep"])
    np.testing.assert_array_equal(dense(content), [[0.5, 0, 1], [0, 0, 0], [1, 0, 0]])


def test_a_matrix_is_scaled_by_row_and_copied():
    matrix = sparse.csr_array(np.array([[4, 1, 0], [0, 0, 0], [0, 0, 3]]))
    matrix.data[1] = 0  # a stored 0 is no feature
    before = matrix.copy()
    content = Content(matrix)
    np.testing.assert_array_equal(dense(content), [[1, 0, 0], [0, 0, 0], [0, 0, 1]])
    assert len(content.rows.indices) == 2
    np.testing.assert_array_equal(matrix.data, before.data)
    assert content.rows.values.dtype == np.float32


def test_cells_that_occur_twice_add_up():
    matrix = sparse.coo_array(([1, 2, 6], ([0, 0, 0], [1, 1, 0])), shape=(1, 2))
    np.testing.assert_array_equal(dense(Content(matrix)), [[1, 0.5]])


def test_joins_items_by_their_ids():
    content = Content.from_frame(pa.table(PAPERS))
    rows = content.of_items(IdIndex(np.array([9, 7, 5]), "item"))
    matrix = sparse.csr_array((rows.values, rows.indices, rows.indptr), shape=rows.shape)
    np.testing.assert_array_equal(matrix.toarray(), [[0, 0, 1], [0, 0, 0], [1, 0.5, 0.5]])


def test_takes_the_columns_of_another_vocabulary():
    content = Content.from_frame(pa.table(PAPERS))
    again = content.with_vocabulary(np.array(["learning", "cat"]), 2)
    np.testing.assert_array_equal(dense(again), [[1, 0], [0, 0], [0, 0]])


REFUSED = {
    "dense": (lambda: Content(np.ones((2, 2))), TypeError, r"content must be a scipy\.sparse"),
    "negative": (
        lambda: Content(sparse.csr_array([[1.0, -2.0]])),
        ValueError,
        r"content must hold finite numbers of at least 0, but one is -2\.",
    ),
    "NaN": (
        lambda: Content(sparse.csr_array([[1.0, np.nan]])),
        ValueError,
        r"content must hold finite numbers of at least 0, but one is nan\.",
    ),
    "complex": (lambda: Content(sparse.csr_array([[1j]])), TypeError, r"real numbers.*complex128"),
    "no items": (
        lambda: Content(sparse.csr_array((0, 3))),
        ValueError,
        r"content must have items and features, but its shape is \(0, 3\)\.",
    ),
    "too few ids": (
        lambda: Content(sparse.csr_array(np.eye(3)), item_ids=[1, 2]),
        ValueError,
        r"item_ids must have one entry for each of the 3 items, but its shape is \(2,\)\.",
    ),
    "an id twice": (
        lambda: Content(sparse.csr_array(np.eye(2)), item_ids=[4, 4]),
        ValueError,
        r"item_ids must be unique, but 4 occurs 2 times\.",
    ),
    "a word twice": (
        lambda: Content(sparse.csr_array(np.eye(2)), vocabulary=["a", "a"]),
        ValueError,
        r"vocabulary must hold distinct words, but one occurs twice\.",
    ),
    "no such column": (
        lambda: Content.from_frame(pa.table({"item": [1]})),
        ValueError,
        r"content must have columns 'item' and 'tokens', but it has \['item'\]\.",
    ),
    "no frame": (
        lambda: Content.from_frame([1, 2]),
        TypeError,
        r"content must be Content, a scipy\.sparse array.*but it is a list\.",
    ),
    "strings for lists": (
        lambda: Content.from_frame(pa.table({"item": [1], "tokens": ["a b"]})),
        TypeError,
        r"column 'tokens' must hold lists of strings, but its type is string\.",
    ),
    "lists of numbers": (
        lambda: Content.from_frame(pa.table({"item": [1], "tokens": [[3]]})),
        TypeError,
        r"column 'tokens' must hold lists of strings, but its type is list<.*int64",
    ),
    "a missing token": (
        lambda: Content.from_frame(pa.table({"item": [1], "tokens": [["a", None]]})),
        ValueError,
        r"column 'tokens' must have no missing value within a list\.",
    ),
    "no token at all": (
        lambda: Content.from_frame(
            pa.table({"item": [1], "tokens": pa.array([[]], pa.list_(pa.string()))})
        ),
        ValueError,
        r"content must hold at least one token, but all lists are empty\.",
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refuses_in_a_sentence(case):
    make, error, sentence = case
    with pytest.raises(error, match=sentence):
        make()
