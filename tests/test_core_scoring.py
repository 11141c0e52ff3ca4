import numpy as np
import pytest
from core_fixtures import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from reference import ACTIVATIONS, top_k

from isthmus import _core


def random_scorer(core, queries, candidates, k, *, seed=0, activation="identity", scale=1.0):
    """A scorer with every term of its rule, and all its scores in float64."""
    rng = np.random.default_rng(seed)
    q, c = (rng.normal(size=(n, k)).astype(np.float32) / np.sqrt(k) for n in (queries, candidates))
    q_bias, c_bias, q_offset, c_offset = (
        rng.normal(size=n).astype(np.float32) for n in (queries, candidates) * 2
    )
    scorer = core.Scorer(
        *(q, c),
        activation=activation,
        scale=scale,
        query_bias=q_bias,
        candidate_bias=c_bias,
        query_offset=q_offset,
        candidate_offset=c_offset,
    )
    dot = q.astype(np.float64) @ c.astype(np.float64).T
    z = dot + q_bias.astype(np.float64)[:, None] + c_bias
    return scorer, ACTIVATIONS[activation](z) / scale + q_offset[:, None] + c_offset


def integer_scorer(core, scores):
    """A scorer whose scores are exactly these small integers."""
    scores = np.asarray(scores, dtype=np.float32)
    return core.Scorer(scores, np.eye(scores.shape[1], dtype=np.float32))


def csr(seen):
    indptr = np.cumsum([0, *map(len, seen)]).astype(np.int64)
    return {
        "seen_indptr": indptr,
        "seen_indices": np.array([c for row in seen for c in sorted(row)], np.int32),
    }


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("k", [1, 15, 64, 100])
def test_pairs_score_as_the_reference_does(core, activation, k):
    scorer, scores = random_scorer(core, 30, 50, k, activation=activation, scale=0.25)
    rng = np.random.default_rng(1)
    q, c = (rng.integers(0, n, 2500).astype(np.int32) for n in (30, 50))
    for num_threads in (1, 3):
        assert_close(scorer.score_pairs(q, c, num_threads=num_threads), scores[q, c], 1e-6)


def test_terms_that_are_not_given_are_zero(core):
    rng = np.random.default_rng(0)
    q, c = (rng.normal(size=(n, 5)).astype(np.float32) for n in (3, 4))
    dot = q.astype(np.float64) @ c.T
    bias = np.arange(4, dtype=np.float32)
    pairs = np.indices((3, 4), dtype=np.int32).reshape(2, -1)
    for name, expected in {
        "candidate_bias": dot + bias,
        "candidate_offset": dot + bias,
        "query_bias": dot + bias[:3, None],
        "query_offset": dot + bias[:3, None],
    }.items():
        scorer = core.Scorer(q, c, **{name: bias[: 3 if "query" in name else 4]})
        assert_close(scorer.score_pairs(*pairs, num_threads=1), expected.ravel(), 1e-6, name)
        assert_close(scorer.top_k(1, num_threads=1)[1], expected.max(1, keepdims=True), 1e-6, name)


def test_no_pairs_have_no_scores(core):
    none = np.zeros(0, np.int32)
    assert random_scorer(core, 2, 2, 3)[0].score_pairs(none, none, num_threads=2).shape == (0,)


@pytest.mark.parametrize("isa", _core.available())
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    queries=st.integers(1, 40),
    candidates=st.integers(1, 60),
    n=st.integers(1, 70),
    levels=st.integers(1, 8),
    seed=st.integers(0, 1000),
)
def test_the_best_are_in_order_with_ties_by_candidate(isa, queries, candidates, n, levels, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-levels, levels, (queries, candidates))  # many are equal
    chance = rng.choice([0.0, 0.3, 1.0], queries)
    seen = [set(np.flatnonzero(rng.random(candidates) < p).tolist()) for p in chance]
    items, best = top_k(scores, n, seen)
    scorer = integer_scorer(_core.load_core(isa), scores)
    actual_items, actual_best = scorer.top_k(n, **csr(seen), num_threads=2)
    assert_array_equal(actual_items, items)
    assert_array_equal(actual_best, best)


@pytest.mark.parametrize("activation", ["identity", "sigmoid", "swish"])
def test_the_best_of_several_tiles_score_as_the_reference_does(core, activation):
    scorer, scores = random_scorer(core, 70, 2500, 24, activation=activation, scale=2.0)
    items, best = scorer.top_k(50, num_threads=2)
    assert_close(best, top_k(scores, 50)[1], 1e-6)
    assert_close(np.take_along_axis(scores, items, axis=1), best, 1e-6)
    assert all(len(set(row)) == 50 for row in items.tolist())


def test_ties_across_tiles_go_to_the_first_candidate(core):
    items, best = core.Scorer(np.ones((1, 1), np.float32), np.ones((3000, 1), np.float32)).top_k(
        4, num_threads=1
    )
    assert_array_equal(items, [[0, 1, 2, 3]])
    assert_array_equal(best, np.ones((1, 4)))


def test_seen_candidates_of_every_tile_are_left_out(core):
    scores = np.zeros((1, 3000), np.float32)
    scores[0, [5, 1023, 1024, 2999]] = [4, 3, 2, 1]
    scorer = core.Scorer(np.ones((1, 1), np.float32), scores.T.copy())
    items, best = scorer.top_k(3, **csr([{5, 1024}]), num_threads=1)
    assert_array_equal(items, [[1023, 2999, 0]])
    assert_array_equal(best, [[3, 1, 0]])


def test_short_lists_end_in_minus_one_and_nan(core):
    scorer = integer_scorer(core, [[1, 3, 2]])
    items, best = scorer.top_k(5, num_threads=1)
    assert_array_equal(items, [[1, 2, 0, -1, -1]])
    assert_array_equal(best, [[3, 2, 1, np.nan, np.nan]])
    items, best = scorer.top_k(2, **csr([{0, 1, 2}]), num_threads=1)
    assert_array_equal(items, [[-1, -1]])
    assert np.isnan(best).all()


@pytest.mark.parametrize("queries", [0, 3])
@pytest.mark.parametrize("order", ["C", "F"])
def test_no_candidates_leave_empty_lists(core, queries, order):
    empty = np.empty((0, 4), np.float32, order=order)
    scorer = core.Scorer(np.ones((queries, 4), np.float32), empty)
    items, best = scorer.top_k(2, **csr([set()] * queries), num_threads=2)
    assert_array_equal(items, np.full((queries, 2), -1))
    assert_array_equal(best, np.full((queries, 2), np.nan))


def test_the_number_of_threads_changes_no_bit(core):
    scorer, _ = random_scorer(core, 100, 1500, 40, activation="tanh")
    pairs = np.random.default_rng(2).integers(0, 100, (2, 5000)).astype(np.int32)
    expected = [*scorer.top_k(20, num_threads=1), scorer.score_pairs(*pairs, num_threads=1)]
    for num_threads in (2, 3, 5):
        actual = [
            *scorer.top_k(20, num_threads=num_threads),
            scorer.score_pairs(*pairs, num_threads=num_threads),
        ]
        for a, e in zip(actual, expected, strict=True):
            assert a.tobytes() == e.tobytes()


@pytest.mark.parametrize("candidates", [1, 2, 7, 30, 1100])
@pytest.mark.parametrize("k", [1, 3, 16, 40, 300])
def test_a_query_scores_alone_as_in_company(core, candidates, k):
    rng = np.random.default_rng(k)
    queries, others = (rng.normal(size=(n, k)).astype(np.float32) for n in (135, candidates))
    items, scores = core.Scorer(queries, others).top_k(candidates, num_threads=1)
    for first, last in ((0, 1), (2, 5), (127, 129), (133, 134), (134, 135)):
        some = core.Scorer(queries[first:last], others).top_k(candidates, num_threads=1)
        assert_array_equal(some[0], items[first:last])
        assert_array_equal(some[1], scores[first:last])


def test_vectors_may_be_rows_of_a_wider_or_padded_matrix(core):
    wide = np.random.default_rng(0).normal(size=(8, 20)).astype(np.float32)
    scorer = core.Scorer(wide[::2, :7], core.Matrix(wide[:, 3:10]).array)
    expected = wide[::2, :7].astype(np.float64) @ wide[:, 3:10].T
    assert_close(scorer.top_k(8, num_threads=1)[1], -np.sort(-expected, axis=1), 1e-6)


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (([0, 1], [0]), "seen_indptr must have a position per query, and one"),
        (([0, 2, 1], [0, 1]), "seen_indptr must not decrease"),
        (([0, 1, 3], [0, 1]), "seen_indptr points outside of seen_indices"),
        (([0, 2, 2], [1, 0]), "seen_indices must ascend within the candidates"),
        (([0, 2, 2], [1, 1]), "seen_indices must ascend within the candidates"),
        (([0, 1, 2], [0, 3]), "seen_indices must ascend within the candidates"),
        (([0, 1, 2], [-1, 0]), "seen_indices must ascend within the candidates"),
    ],
)
def test_seen_cells_that_are_no_csr_are_refused(core, seen, message):
    scorer, _ = random_scorer(core, 2, 3, 4)
    indptr, indices = np.array(seen[0], np.int64), np.array(seen[1], np.int32)
    with pytest.raises(ValueError, match=message):
        scorer.top_k(1, seen_indptr=indptr, seen_indices=indices, num_threads=1)


def test_pairs_outside_of_the_scorer_are_refused(core):
    scorer, _ = random_scorer(core, 2, 3, 4)
    for q, c in ([2], [0]), ([-1], [0]), ([0], [3]):
        with pytest.raises(ValueError, match="must lie within the scorer's"):
            scorer.score_pairs(np.array(q, np.int32), np.array(c, np.int32), num_threads=1)
    with pytest.raises(ValueError, match="must pair up"):
        scorer.score_pairs(np.zeros(1, np.int32), np.zeros(2, np.int32), num_threads=1)


def test_terms_of_the_wrong_size_are_refused(core):
    q, c = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32)
    with pytest.raises(ValueError, match="query_bias has 4 values; it must have 2"):
        core.Scorer(q, c, query_bias=np.ones(4, np.float32))
    with pytest.raises(ValueError, match="must have the same number of columns"):
        core.Scorer(q, c[:, :2])


def test_scores_are_weighted_and_summed(core):
    one, first = random_scorer(core, 130, 1500, 7, seed=1)
    other, second = random_scorer(core, 130, 1500, 20, seed=2, activation="sigmoid")
    both = core.WeightedScorer((one, other), [0.75, -2.0], 0.5)
    expected = 0.5 + 0.75 * first - 2.0 * second
    pairs = np.random.default_rng(3).integers(0, 130, (2, 400)).astype(np.int32)
    assert_close(both.score_pairs(*pairs, num_threads=2), expected[tuple(pairs)], 1e-6)
    items, best = both.top_k(20, num_threads=2)
    assert_close(best, top_k(expected, 20)[1], 1e-6)
    assert_close(np.take_along_axis(expected, items, axis=1), best, 1e-6)
    # what is summed may itself be a sum
    twice = core.WeightedScorer((both,), [2.0], -1.0)
    assert_close(twice.score_pairs(*pairs, num_threads=1), 2 * expected[tuple(pairs)] - 1, 1e-6)


def test_only_scores_that_fit_each_other_are_summed(core):
    scorers = [random_scorer(core, *shape)[0] for shape in ((3, 4, 2), (3, 5, 2), (2, 4, 2))]
    for others in scorers[1:]:
        with pytest.raises(ValueError, match="as many queries and candidates each"):
            core.WeightedScorer((scorers[0], others), [1.0, 1.0], 0.0)
    for given_scorers, weights in (((), []), (tuple(scorers[:1]), [1.0, 2.0])):
        with pytest.raises(ValueError, match="a weight for each of at least one source"):
            core.WeightedScorer(given_scorers, weights, 0.0)
    with pytest.raises(RuntimeError, match="cast"):
        core.WeightedScorer((1,), [1.0], 0.0)
