"""SciPy matrices whose arrays are wrong, wherever a matrix may come in."""

import numpy as np
import pytest
from scipy import sparse

from isthmus import AutoRec, Ratings
from isthmus.data._matrices import checked_matrix
from isthmus.data.content import Content

BASE = sparse.coo_array(([1.0, 2.0, 3.0, 4.0], ([0, 1, 1, 3], [0, 1, 2, 3])), shape=(4, 4))
FORMATS = ("csr", "csc", "coo", "lil", "dok", "dia", "bsr")


def made(kind):
    return BASE.tobsr((2, 2)) if kind == "bsr" else BASE.asformat(kind, copy=True)


def with_arrays(kind, **arrays):
    matrix = made(kind)
    for name, array in arrays.items():
        setattr(matrix, name, array)
    return matrix


def lists(row):
    matrix = made("lil")
    matrix.rows[1] = row
    return matrix


WRONG = {
    f"{kind}: {name}": (with_arrays(kind, indptr=np.array(indptr, np.int32)), message)
    for kind in ("csr", "csc")
    for name, indptr, message in (
        ("far pointer", [0, 400_000, 1, 2, 4], r"indptr must not decrease"),
        ("negative pointer", [0, -5, 1, 2, 4], r"indptr must not decrease"),
        ("end too far", [0, 1, 2, 3, 400_000], r"indptr must go from 0 to .* cells, 4, .*400,000"),
        ("negative end", [0, 1, 2, 3, -4], r"indptr must go from 0 to .* to -4"),
        ("start beyond 0", [1, 1, 3, 3, 4], r"indptr must go from 0 .* goes from 1 to 4"),
        ("too short", [0, 4], r"indptr must have shape \(5,\)"),
        ("empty", [], r"indptr must have an entry for each row and one more, not none"),
    )
}
WRONG |= {
    "two dimensions": (with_arrays("csc", indptr=np.zeros((5, 1), int)), r"must have 1 dimension"),
    "few indices": (with_arrays("csc", indices=np.zeros(2, int)), r"stored cells, 2, .* to 4"),
    "few values": (with_arrays("csc", data=np.ones(3)), r"number of stored cells, 3, .* to 4"),
    "far index": (
        with_arrays("csc", indices=np.array([0, 1, 9, 3])),
        r"between 0 and 3.*include 9",
    ),
    "index -1": (with_arrays("csr", indices=np.array([0, 1, -1, 3])), r"between 0 and 3.* -1"),
    "blocks": (with_arrays("bsr", indptr=np.array([0, 40_000, 2])), r"indptr must not decrease"),
    "odd blocks": (with_arrays("bsr", data=np.ones((2, 3, 3))), r"must be made of whole blocks"),
    "far block": (with_arrays("bsr", indices=np.array([0, 2, 1])), r"between 0 and 1.*include 2"),
    "rows": (with_arrays("coo", row=np.array([0, 1, 1, 4])), r"row numbers between 0 and 3.* 4"),
    "columns": (with_arrays("coo", col=np.array([-1, 1, 1, 2])), r"column numbers between 0 .* -1"),
    "few rows": (
        with_arrays("coo", row=np.array([0, 1])),
        r"a row number for each of its 4 values",
    ),
    "offsets": (
        with_arrays("dia", offsets=np.array([0, 0])),
        r"offsets must be distinct and one a",
    ),
    "list": (lists([1, 9]), r"must have lists of numbers as its rows, but .* 9"),
    "long list": (lists([1, 2, 3]), r"some row has other numbers of columns and values"),
    "no list": (lists(3), r"must have lists of numbers as its rows"),
    "words": (lists(["a", "b"]), r"must have lists of numbers as its rows"),
    "huge": (lists([1, 2**70]), r"must have lists of numbers as its rows"),
}
TYPES = {
    "float pointers": (
        with_arrays("csc", indptr=np.array([0, 1, 2, 3, 4.0])),
        "indptr must hold int",
    ),
    "float indices": (
        with_arrays("csr", indices=np.array([0, 1, 2, 3.0])),
        "indices must hold int",
    ),
    "objects": (with_arrays("csc", data=np.array([None] * 4)), "must hold real numbers"),
    "complex": (with_arrays("dia", data=np.ones((2, 4), complex)), "must hold real numbers"),
}

RATINGS = Ratings.from_arrays([0, 0, 1, 2, 3], [0, 3, 1, 2, 1], [1, 2, 3, 4, 5])
MODEL = AutoRec(hidden_units=(2,), epochs=1, random_state=0, num_threads=1).fit(RATINGS)
DOORS = {
    "fit": lambda X: AutoRec(hidden_units=(2,), epochs=1, num_threads=1).fit(X),
    "from_matrix": Ratings.from_matrix,
    "content": Content,
    "evaluate": MODEL.evaluate,
    "exclude": lambda X: MODEL.evaluate(RATINGS, "ndcg@2", exclude=X, exclude_seen=False),
    "candidates": lambda X: MODEL.evaluate(RATINGS, "ndcg@2", candidates=X, exclude_seen=False),
    "recommend": lambda X: MODEL.recommend(ratings=X),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", WRONG)
def test_pointers_and_numbers_are_checked_at_every_door(case, door):
    matrix, message = WRONG[case]
    with pytest.raises(ValueError, match=message) as caught:
        DOORS[door](matrix)
    assert type(caught.value) is ValueError


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("case", TYPES)
def test_types_are_checked_at_every_door(case, door):
    matrix, message = TYPES[case]
    with pytest.raises(TypeError, match=message):
        DOORS[door](matrix)


@pytest.mark.parametrize("dtype", ["i4", "i8", "u8", "u2", ">i4"])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_its_cells(kind, dtype):
    matrix = made(kind)
    for name in ("indptr", "indices", "row", "col", "offsets"):
        if hasattr(matrix, name) and name in vars(matrix):
            array = getattr(matrix, name)
            wide = np.repeat(array.astype("i8" if (array < 0).any() else dtype), 2)
            setattr(matrix, name, wide[::2])  # strided as well
    cells = checked_matrix(matrix, "X")
    assert cells.format in ("csr", "coo")
    np.testing.assert_array_equal(cells.toarray(), BASE.toarray())
    np.testing.assert_array_equal(
        Content(matrix).to_matrix().toarray(), Content(BASE).to_matrix().toarray()
    )


@pytest.mark.parametrize("kind", ["csr", "csc"])
def test_spare_room_is_left_out(kind):
    matrix = made(kind)
    matrix.data, matrix.indices = np.resize(matrix.data, 9), np.resize(matrix.indices, 9)
    assert Ratings.from_matrix(matrix).nnz == 4
    assert len(Content(matrix).rows.indices) == 4


def test_rows_and_columns_need_cells_or_names():
    X = sparse.coo_array(([1.0, 2.0, 3.0], ([0, 5, 9], [1, 2, 10**9 - 1])), shape=(10, 10**9))
    with pytest.raises(
        ValueError,
        match=r"X must come with item_ids to have over 10,000,000 items more than stored cells, "
        r"but it has 1,000,000,000 items and 3 cells\.",
    ):
        DOORS["fit"](X)
    with pytest.raises(ValueError, match=r"user_ids to have over 10,000,000 users"):
        DOORS["from_matrix"](X.T)
    with pytest.raises(ValueError, match=r"content must come with vocabulary to have over"):
        Content(X)
    with pytest.raises(ValueError, match=r"content must come with item_ids to have over"):
        Content(X.T)
    with pytest.raises(ValueError, match=r"to have over 10,000,000 new users"):
        MODEL.recommend(ratings=sparse.csr_array(sparse.coo_array((2 * 10**7, 4))))


def test_strided_arrays_reach_the_core_as_it_takes_them():
    rows = RATINGS.rows("user")
    strided = [np.repeat(array, 2)[::2] for array in (rows.indptr, rows.indices, rows.values)]
    ratings = Ratings(
        rows._replace(indptr=strided[0], indices=strided[1], values=strided[2]),
        timestamps=np.arange(10)[::2],
    )
    assert ratings.timestamps.flags.c_contiguous
    np.testing.assert_array_equal(ratings.rows("item").values, RATINGS.rows("item").values)
    again = AutoRec(hidden_units=(2,), epochs=1, random_state=0, num_threads=1).fit(ratings)
    np.testing.assert_array_equal(again.predict(0, [0, 1]), MODEL.predict(0, [0, 1]))
