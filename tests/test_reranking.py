"""Lists thinned out by a cap on groups, and made diverse."""

import numpy as np
import pytest
from scipy import sparse

from isthmus.reranking import cap_groups, diversify

IDS = np.array([[1, 2, 3, 4, 5], [5, 4, 3, -1, -1]])
SCORES = np.array([[9, 8, 7, 6, 5], [3, 2, 1, np.nan, np.nan]], np.float32)
GENRES = {1: "a", 2: "a", 3: ["a", "b"], 4: ("b", "b"), 5: {"c"}}


class TestCap:
    def test_keeps_the_first_of_each_group(self):
        ids, scores = cap_groups(IDS, SCORES, GENRES, most=1)
        assert ids.tolist() == [[1, 4, 5, -1, -1], [5, 4, -1, -1, -1]]
        np.testing.assert_array_equal(
            scores, [[9, 6, 5, np.nan, np.nan], [3, 2, np.nan, np.nan, np.nan]]
        )

    def test_every_group_of_an_item_must_have_room(self):
        ids, _ = cap_groups(IDS, SCORES, GENRES, most=2, n=4)
        assert ids.tolist() == [[1, 2, 4, 5], [5, 4, 3, -1]]

    def test_items_without_a_group_are_kept(self):
        ids, _ = cap_groups(IDS, SCORES, {}, most=1)
        np.testing.assert_array_equal(ids, IDS)

    def test_takes_one_list_and_names(self):
        ids, scores = cap_groups(["x", "y", ""], [2, 1, np.nan], {"x": 0, "y": 0}, most=1)
        assert ids.tolist() == ["x", "", ""]
        assert scores.dtype == np.float32

    @pytest.mark.parametrize(
        ("options", "message"),
        [({"most": 0}, "most must be"), ({"most": 1, "n": 0}, "n must be an integer")],
    )
    def test_refuses_bad_numbers(self, options, message):
        with pytest.raises(ValueError, match=message):
            cap_groups(IDS, SCORES, GENRES, **options)

    def test_refuses_shapes_that_differ(self):
        with pytest.raises(ValueError, match=r"ids and scores must be of one shape"):
            cap_groups(IDS, SCORES[:1], GENRES, most=1)


def slow_mmr(items, vectors, trade_off, n):
    """Choose as the paper's formula says, one item at a time."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    relevance = {item: 1 - place / len(items) for place, item in enumerate(items)}
    chosen = []
    while len(chosen) < min(n, len(items)):
        chosen.append(
            max(
                (item for item in items if item not in chosen),
                key=lambda item: (
                    trade_off * relevance[item]
                    - (1 - trade_off) * max((unit[item] @ unit[one] for one in chosen), default=0)
                ),
            )
        )
    return chosen


class TestDiversify:
    rng = np.random.default_rng(4)
    vectors = rng.standard_normal((30, 4))
    lists = rng.permuted(np.tile(np.arange(30), (9, 1)), axis=1)[:, :12]
    scores = -np.sort(rng.standard_normal((9, 12)), axis=1).astype(np.float32)

    @pytest.mark.parametrize("trade_off", [0, 0.3, 0.7, 1])
    def test_is_the_papers_formula(self, trade_off):
        ids, scores = diversify(self.lists, self.scores, self.vectors, trade_off=trade_off, n=6)
        for row, items in enumerate(self.lists):
            assert ids[row].tolist() == slow_mmr(items.tolist(), self.vectors, trade_off, 6)
            places = [items.tolist().index(item) for item in ids[row]]
            np.testing.assert_array_equal(scores[row], self.scores[row][places])
        names = [f"i{i}" for i in range(30)]
        again, _ = diversify(
            np.array(names)[self.lists],
            self.scores,
            sparse.csc_array(self.vectors),
            item_ids=names,
            trade_off=trade_off,
            n=6,
        )
        np.testing.assert_array_equal(again, np.array(names)[ids])

    def test_short_lists_end(self):
        ids, scores = diversify(IDS, SCORES, np.eye(6), n=4)
        assert ids.tolist() == [[1, 2, 3, 4], [5, 4, 3, -1]]
        assert np.isnan(scores[1, 3])
        assert diversify([2, 1], [1, 0], np.eye(3), n=3)[0].tolist() == [2, 1, -1]

    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            ((IDS, SCORES, np.eye(3)), {}, r"ids must be among the 3 item ids .* but 3"),
            ((IDS, SCORES, np.eye(6)), {"trade_off": 1.5}, r"trade_off must be"),
            ((IDS, SCORES, np.eye(6)), {"n": 0}, r"n must be"),
            ((IDS, SCORES, np.full((6, 2), np.nan)), {}, r"vectors must be finite"),
            ((IDS, SCORES, np.eye(6)), {"item_ids": [1, 2]}, r"item_ids must have one for each"),
            ((IDS, SCORES, np.ones(6)), {}, r"vectors must be of shape"),
        ],
    )
    def test_refuses_by_name(self, arguments, options, message):
        with pytest.raises(ValueError, match=message):
            diversify(*arguments, **options)
