"""The ranking metrics against lists worked out by hand, a slow reference and other packages."""

from typing import ClassVar

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.metrics import roc_auc_score

from isthmus import Ratings, _core
from isthmus.data._csr import CSR
from isthmus.evaluation.ranking import METRICS, parse_metrics, rank


def pattern(rows, n_items):
    """Cells as CSR, from lists of items."""
    lengths = [len(row) for row in rows]
    indices = np.array([item for row in rows for item in sorted(row)], np.int32)
    indptr = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    return CSR(indptr, indices, np.empty(0, np.float32), (len(rows), n_items))


def scorer(scores):
    """A source of the given scores, users x items."""
    scores = np.asarray(scores, np.float32)
    return _core.Scorer(scores, np.eye(scores.shape[1], dtype=np.float32))


def measure(scores, metrics, positives, *, seen=None, lists=None, num_threads=1):
    n_items = np.shape(scores)[1]
    return rank(
        scorer(scores),
        parse_metrics(metrics),
        pattern(positives, n_items),
        seen=None if seen is None else pattern(seen, n_items),
        lists=None if lists is None else pattern(lists, n_items),
        num_threads=num_threads,
    )


def reference(scores, metric, positives, *, seen=(), candidates=None):
    """A metric of one user, as its definition says."""
    n_items = len(scores)
    pool = set(range(n_items)) if candidates is None else {*candidates, *positives}
    ranking = sorted(pool - set(seen), key=lambda item: (-scores[item], item))
    hit = np.array([item in positives for item in ranking])
    ranks = np.flatnonzero(hit) + 1
    if metric.name == "auc":
        good = np.array([scores[i] for i in ranking if i in positives])[:, None]
        other = np.array([scores[i] for i in ranking if i not in positives])[None, :]
        return np.mean((good > other) + 0.5 * (good == other)) if other.size else np.nan
    k = metric.k or n_items
    found = ranks[ranks <= k]
    total = len(positives)
    ideal = np.sum(1 / np.log2(1 + np.arange(1, min(k, total) + 1)))
    return {
        "precision": len(found) / k,
        "recall": len(found) / total,
        "recall_capped": len(found) / min(k, total),
        "ndcg": np.sum(1 / np.log2(1 + found)) / ideal,
        "map": sum((i + 1) / r for i, r in enumerate(found)) / min(k, total),
        "mrr": 1 / found[0] if len(found) else 0.0,
        "hit_rate": float(len(found) > 0),
    }[metric.name]


def test_one_list_by_hand():
    # ranking: 3, 0, 4, 1, 2; positives are second and fourth
    values = measure(
        [[0.8, 0.2, 0.1, 0.9, 0.5]],
        [f"{name}@3" for name in METRICS if name != "auc"] + ["auc", "mrr", "ndcg@4", "map@5"],
        [[0, 1]],
    )
    expected = {
        "precision@3": 1 / 3,
        "recall@3": 1 / 2,
        "recall_capped@3": 1 / 2,
        "ndcg@3": (1 / np.log2(3)) / (1 + 1 / np.log2(3)),
        "map@3": (1 / 2) / 2,
        "mrr@3": 1 / 2,
        "hit_rate@3": 1.0,
        "coverage@3": 3 / 5,
        "auc": 3 / 6,
        "mrr": 1 / 2,
        "ndcg@4": (1 / np.log2(3) + 1 / np.log2(5)) / (1 + 1 / np.log2(3)),
        "map@5": (1 / 2 + 2 / 4) / 2,
    }
    assert {label: value[0] for label, value in values.items()} == pytest.approx(expected)


def test_more_positives_than_places_cap_the_recall():
    values = measure(
        [[4, 3, 2, 1]], ["recall@2", "recall_capped@2", "ndcg@2", "map@2"], [[0, 1, 2]]
    )
    assert values["recall@2"] == pytest.approx(2 / 3)
    assert values["recall_capped@2"] == values["ndcg@2"] == values["map@2"] == 1


def test_equal_scores_are_ranked_by_item():
    values = measure(np.zeros((3, 4)), ["mrr", "mrr@4", "auc", "hit_rate@1"], [[0], [2], [3]])
    np.testing.assert_allclose(values["mrr"], [1, 1 / 3, 1 / 4])
    np.testing.assert_allclose(values["mrr@4"], [1, 1 / 3, 1 / 4])
    np.testing.assert_allclose(values["auc"], 0.5)
    np.testing.assert_allclose(values["hit_rate@1"], [1, 0, 0])


def test_seen_items_take_no_place():
    values = measure([[9, 8, 7, 6]], ["mrr", "auc", "coverage@1"], [[2]], seen=[[0, 1]])
    assert (values["mrr"], values["auc"], values["coverage@1"]) == (1, 1, 1 / 4)


def test_lists_hold_the_candidates_and_the_positives():
    scores = [[9, 8, 7, 6, 5]]
    assert measure(scores, "mrr", [[3]])["mrr"] == 1 / 4
    assert measure(scores, "mrr", [[3]], lists=[[1, 4]])["mrr"] == 1 / 2
    assert measure(scores, "mrr@10", [[3]], lists=[[1, 4]], seen=[[1]])["mrr@10"] == 1


def test_users_without_positives_have_no_metrics():
    values = measure(np.eye(3), ["ndcg@2", "auc", "mrr"], [[0], [], [0, 1, 2]])
    assert np.isnan(values["ndcg@2"]).tolist() == [False, True, False]
    assert np.isnan(values["auc"]).tolist() == [False, True, True]  # nothing to compare with
    assert np.isnan(values["mrr"]).tolist() == [False, True, False]


class TestScoresOfNaN:
    """Items without a number for a score are not ranked, as `recommend` does not list them."""

    SCORES = (np.nan, 2, 3, np.nan, 1, -np.inf)

    @staticmethod
    def source(scores):
        offsets = np.array(scores, np.float32)
        zeros = np.zeros((len(scores), 1), np.float32)
        return _core.Scorer(zeros[:1], zeros, candidate_offset=offsets)

    def measure(self, metrics, positives, **parts):
        n_items = len(self.SCORES)
        parts = {name: pattern([row], n_items) for name, row in parts.items()}
        values = rank(
            *(self.source(self.SCORES), parse_metrics(metrics), pattern([positives], n_items)),
            num_threads=1,
            **parts,
        )
        return {label: value[0] for label, value in values.items()}

    METRICS = ("mrr", "mrr@6", "hit_rate@6", "ndcg@6", "precision@6", "map@6")

    @pytest.mark.parametrize("lists", [{}, {"lists": [1, 2, 4, 5]}])
    @pytest.mark.parametrize("positives", [[0], [3], [0, 3]])
    def test_find_nothing(self, positives, lists):
        values = self.measure(self.METRICS, positives, **lists)
        assert values == dict.fromkeys(self.METRICS, 0.0)

    @pytest.mark.parametrize("lists", [{}, {"lists": [0, 1, 2, 3, 4, 5]}])
    def test_are_below_all_numbers(self, lists):
        # 4 is behind 2 and 1, and before the three without a number
        values = self.measure(["mrr", "auc", "coverage@6"], [0, 4], **lists)
        # of 8 pairs 4 wins over 3 and 5 alone, and 0 is level with these two
        assert values == pytest.approx({"mrr": 1 / 3, "auc": 3 / 8, "coverage@6": 3 / 6})
        assert self.measure(["auc"], [0], seen=[1, 2, 4, 5], **lists)["auc"] == 0.5

    def test_hide_none_of_those_that_follow(self):
        for at in range(40):
            scores = np.arange(40, 0, -1).astype(np.float32)
            scores[at] = np.nan
            found, best = self.source(scores).top_k(40, num_threads=1)
            left = np.delete(np.arange(40), at)
            np.testing.assert_array_equal(found[0], [*left, -1])
            np.testing.assert_array_equal(best[0], [*scores[left], np.nan])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n_users=st.integers(1, 70),
    n_items=st.integers(2, 60),
    levels=st.integers(2, 40),
    lists=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_all_metrics_are_those_of_the_reference(n_users, n_items, levels, lists, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, (n_users, n_items)).astype(np.float32)  # with ties
    part = rng.choice(4, (n_users, n_items), p=[0.4, 0.2, 0.2, 0.2])
    positives, seen, pools = (
        [np.flatnonzero(row == p).tolist() for row in part] for p in (1, 2, 3)
    )
    labels = [
        f"{name}@{k}" for name in METRICS if name not in ("auc", "coverage") for k in (1, 3, 99)
    ]
    metrics = parse_metrics([*labels, "auc", "mrr", "coverage@3"])
    values = rank(
        scorer(scores),
        metrics,
        pattern(positives, n_items),
        seen=pattern(seen, n_items),
        lists=pattern(pools, n_items) if lists else None,
        num_threads=2,
    )
    top = set()
    for user in range(n_users):
        left = {*pools[user], *positives[user]} if lists else set(range(n_items)) - {*seen[user]}
        top |= set(sorted(left, key=lambda item: (-scores[user, item], item))[:3])
        for metric in metrics:
            if metric.name == "coverage" or not positives[user]:
                continue
            expected = reference(
                *(scores[user], metric, positives[user]),
                seen=seen[user],
                candidates=pools[user] if lists else None,
            )
            np.testing.assert_allclose(values[metric.label][user], expected, err_msg=metric.label)
    assert values["coverage@3"] == pytest.approx(len(top) / n_items)


class TestAgreesWithOthers:
    """trec_eval, by ir-measures, and scikit-learn, on all items and on candidates, with ties."""

    N_USERS, N_ITEMS = 40, 300
    THEIRS: ClassVar = {
        "ndcg@10": ir_measures.nDCG @ 10,
        "ndcg@100": ir_measures.nDCG @ 100,
        "precision@10": ir_measures.P @ 10,
        "recall@20": ir_measures.R @ 20,
        "mrr@10": ir_measures.RR @ 10,
        "mrr": ir_measures.RR,
        "hit_rate@5": ir_measures.Success @ 5,
        "map@300": ir_measures.AP,
        "map@5": ir_measures.AP @ 5,
    }

    @pytest.fixture(params=[300, 20], ids=["distinct", "ties"])
    def scores(self, request):
        rng = np.random.default_rng(0)
        levels = np.arange(float(self.N_ITEMS)) % request.param
        return rng.permuted(np.tile(levels, (self.N_USERS, 1)), axis=1)

    @pytest.fixture
    def positives(self):
        rng = np.random.default_rng(1)
        sizes = rng.integers(1, 30, self.N_USERS)
        return [rng.choice(self.N_ITEMS, size, replace=False).tolist() for size in sizes]

    @pytest.fixture(params=[None, 50], ids=["all", "candidates"])
    def lists(self, request, positives):
        """What is ranked for each user, if not all items."""
        if request.param is None:
            return None
        rng = np.random.default_rng(2)
        return [
            np.union1d(rng.choice(self.N_ITEMS, request.param, replace=False), row).tolist()
            for row in positives
        ]

    def pools(self, lists):
        return lists or [range(self.N_ITEMS)] * self.N_USERS

    @pytest.mark.parametrize("label", THEIRS)
    def test_trec_eval(self, scores, positives, lists, label):
        def name(item):
            # of equal scores trec_eval ranks the last name first, MS MARCO's RR@k the first one
            return f"{item if label == 'mrr@10' else self.N_ITEMS - item:03}"

        truth = [
            ir_measures.Qrel(f"{user:03}", name(item), 1)
            for user, row in enumerate(positives)
            for item in row
        ]
        run = [
            ir_measures.ScoredDoc(f"{user:03}", name(item), scores[user, item])
            for user, pool in enumerate(self.pools(lists))
            for item in pool
        ]
        found = {
            m.query_id: m.value for m in ir_measures.iter_calc([self.THEIRS[label]], truth, run)
        }
        expected = np.array([found[f"{user:03}"] for user in range(self.N_USERS)])
        if label == "map@5":  # which trec_eval divides by all positives, and not by 5 at most
            n = np.array([len(row) for row in positives])
            expected *= n / np.minimum(n, 5)
        ours = measure(scores, label, positives, lists=lists)
        np.testing.assert_allclose(ours[label], expected, rtol=1e-6)

    def test_scikit_learn(self, scores, positives, lists):
        ours = measure(scores, "auc", positives, lists=lists)["auc"]
        for user, pool in enumerate(self.pools(lists)):
            expected = roc_auc_score(np.isin(pool, positives[user]), scores[user, list(pool)])
            assert ours[user] == pytest.approx(expected)


def test_gives_the_same_bits_at_any_number_of_threads():
    rng = np.random.default_rng(1)
    scores = rng.random((500, 3000), np.float32)
    positives = [rng.choice(3000, 5, replace=False) for _ in range(500)]
    metrics = ["ndcg@10", "map@50", "auc", "coverage@10"]
    one = measure(scores[:, :50], metrics, [p % 50 for p in [np.unique(p % 50) for p in positives]])
    for threads in (2, 3, 5):
        many = measure(
            *(scores[:, :50], metrics, [np.unique(p % 50) for p in positives]), num_threads=threads
        )
        for label in metrics:
            np.testing.assert_array_equal(one[label], many[label])


@pytest.mark.parametrize("width", [1, 5, 16, 130, 1024, 1500, 2100])
def test_products_score_as_dense_matrices_do(width):
    rng = np.random.default_rng(width)
    rows = sparse.random_array((70, 40), density=0.2, rng=rng, dtype=np.float32, format="csr")
    weights = rng.standard_normal((40, width)).astype(np.float32)
    source = _core.ProductScorer(
        rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data, weights
    )
    expected = rows.toarray() @ weights
    users, items = map(np.ravel, np.mgrid[:70, :width])
    scores = source.score_pairs(users.astype(np.int32), items.astype(np.int32), num_threads=2)
    np.testing.assert_allclose(scores.reshape(70, width), expected, rtol=1e-4, atol=1e-5)
    n = min(width, 7)
    found, best = source.top_k(n, num_threads=2)
    np.testing.assert_allclose(best, -np.sort(-expected, axis=1)[:, :n], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        np.take_along_axis(expected, found, axis=1), best, rtol=1e-4, atol=1e-5
    )


def test_bad_metrics_are_refused():
    for label, message in {
        "ndcg": r"ndcg must be given with a cut-off, as 'ndcg@10', but it was 'ndcg'",
        "ndcg@0": r"with a cut-off",
        "ndcg@x": r"with a cut-off",
        "auc@5": r"auc must be given without a cut-off",
        "bleu@4": r"must be one of precision, recall.*but one was 'bleu@4'",
    }.items():
        with pytest.raises(ValueError, match=message):
            parse_metrics([label])
    with pytest.raises(ValueError, match="at least one"):
        parse_metrics([])
    with pytest.raises(TypeError, match="must be strings"):
        parse_metrics([3])
    assert parse_metrics("HR@10")[0].name == "hit_rate"


class TestEvaluate:
    """`evaluate` on a model, whichever it is."""

    @pytest.fixture
    def parts(self):
        from isthmus import synthetic_ratings, train_test_split

        return train_test_split(
            synthetic_ratings(60, 40, 800, random_state=1), test_size=0.2, random_state=0, by="user"
        )

    @pytest.fixture
    def model(self, parts):
        from isthmus import AutoRec

        return AutoRec(hidden_units=(5,), epochs=2, random_state=0, clip=False).fit(parts[0])

    def test_ranks_what_recommend_lists(self, model, parts):
        ids, _ = model.recommend(n=10)
        test = parts[1].to_matrix().toarray() != 0
        found = np.take_along_axis(test, ids, axis=1).sum(axis=1)
        counted = test.sum(axis=1)
        some = counted > 0
        values = model.evaluate(parts[1], ["recall@10", "rmse", "coverage@10"])
        assert list(values) == ["recall@10", "rmse", "coverage@10"]
        assert values["recall@10"] == pytest.approx(np.mean(found[some] / counted[some]))
        assert values["rmse"] == model.evaluate(parts[1])["rmse"]
        assert values["coverage@10"] == len(np.setdiff1d(ids[some], [-1])) / 40
        users, each = model.evaluate_users(parts[1], "recall@10")
        np.testing.assert_array_equal(users, parts[1].user_ids[some])
        np.testing.assert_allclose(each["recall@10"], found[some] / counted[some])

    def test_folds_in_users(self, model, parts):
        fold = parts[0].select(np.arange(parts[0].nnz) < 200)
        test = Ratings.from_matrix(parts[1].to_matrix()[: fold.n_users])
        known = model.evaluate(test, "ndcg@10", ratings=fold)
        ids, _ = model.recommend(ratings=fold, n=10)
        hits = np.take_along_axis(test.to_matrix().toarray() != 0, ids, axis=1)
        assert known["ndcg@10"] > 0
        assert model.evaluate(test, "hr@10", ratings=fold)["hr@10"] == pytest.approx(
            hits.any(axis=1)[np.diff(test.indptr) > 0].mean()
        )

    def test_ranks_candidates_alone(self, model, parts):
        values = model.evaluate(parts[1], ["hr@1", "auc"], candidates=parts[1])
        assert values["hr@1"] == 1
        assert np.isnan(values["auc"])

    def test_leaves_out_what_it_is_told(self, model, parts):
        first, rest = (parts[1].select(np.arange(141) % 2 == half) for half in (0, 1))
        worse = model.evaluate(rest, ["mrr", "auc"])
        better = model.evaluate(rest, ["mrr", "auc"], exclude=first)
        assert better["mrr"] > worse["mrr"]
        with pytest.raises(ValueError, match="but 70 of its 70 cells are"):
            model.evaluate(rest, "mrr", exclude=parts[1])

    def test_refuses_what_it_leaves_out(self, model, parts):
        with pytest.raises(
            ValueError, match=r"as what training had is unless exclude_seen=False, but 659"
        ):
            model.evaluate(parts[0], "ndcg@10")
        assert model.evaluate(parts[0], "ndcg@10", exclude_seen=False)["ndcg@10"] > 0
        with pytest.raises(ValueError, match="must not be given for rmse"):
            model.evaluate(parts[1], "rmse", ratings=parts[0])
        with pytest.raises(ValueError, match="must have the users of test"):
            model.evaluate(parts[1].to_matrix()[:5], "ndcg@10", ratings=parts[0])
        with pytest.raises(ValueError, match="must not include coverage"):
            model.evaluate_users(parts[1], "coverage@10")

    def test_similar_items(self, model):
        ids, scores = model.similar_items([3, 5], n=39)
        assert (np.sort(ids, axis=1) == [np.setdiff1d(np.arange(40), [i]) for i in (3, 5)]).all()
        assert (np.diff(scores, axis=1) <= 0).all()
        assert np.abs(scores).max() <= 1 + 1e-6
        assert model.similar_items(3, n=2)[0].tolist() == ids[0, :2].tolist()


class TestEvaluateForms:
    """Both published forms of evaluation, on a model whose scores are known."""

    def model(self, scores, train):
        from isthmus import CVAE

        n_users, n_items = np.shape(scores)
        cells = [(f"u{user}", f"i{item}") for user, row in enumerate(train) for item in row]
        users, items = zip(*cells, strict=True)
        ratings = Ratings.from_arrays(
            *(users, items, np.ones(len(cells))),
            user_ids=[f"u{user}" for user in range(n_users)],
            item_ids=[f"i{item}" for item in range(n_items)],
        )
        model = CVAE(latent_units=n_items, epochs=1, random_state=0).fit(ratings)
        model._codes = np.asarray(scores, np.float32)
        model._item_factors = np.eye(n_items, dtype=np.float32)
        return model

    def test_by_hand(self):
        # lists: 0, 1, ... for the first user, 4, 3, ... for the others
        model = self.model([[5, 4, 3, 2, 1], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]], [[0, 2], [0], [4]])
        test = Ratings.from_arrays(["u0", "u0", "u1"], ["i1", "i4", "i3"], [1, 1, 1])
        forms = model.evaluate_forms(test, ["recall@2", "hr@1"])
        assert forms == pytest.approx(
            {
                # of 0 1 2 4, the list 0 1; of 0 3, the list 4 3; without a test item, no user
                "recall@2 (paper)": (2 / 4 + 1 / 2) / 2,
                "hr@1 (paper)": (1 + 0) / 2,
                # of 1 4, the list 1 3; of 3, the list 4 3
                "recall@2 (masked)": (1 / 2 + 1 / 1) / 2,
                "hr@1 (masked)": (1 + 0) / 2,
            }
        )
        assert list(forms) == [
            *("recall@2 (paper)", "hr@1 (paper)"),
            *("recall@2 (masked)", "hr@1 (masked)"),
        ]

    @pytest.mark.parametrize("seed", range(5))
    def test_is_what_brute_force_counts(self, seed):
        rng = np.random.default_rng(seed)
        scores = rng.permuted(np.tile(np.arange(30.0), (40, 1)), axis=1)
        part = rng.choice(3, (40, 30), p=[0.6, 0.25, 0.15])
        part[::4][part[::4] == 2] = 0  # users with nothing in testing
        part[1::8][part[1::8] == 1] = 0  # and with nothing in training
        train, test = part == 1, part == 2
        model = self.model(scores, [np.flatnonzero(row) for row in train])
        users, items = np.nonzero(test)
        held_out = Ratings.from_arrays(
            *([f"u{u}" for u in users], [f"i{i}" for i in items], np.ones(len(users)))
        )
        forms = model.evaluate_forms(held_out, ["recall@3", "recall@12"])
        for form, wanted, left in (
            ("paper", train | test, np.ones_like(test)),
            ("masked", test, ~train),
        ):
            for k in (3, 12):
                ranked = np.argsort(-np.where(left, scores, -np.inf), axis=1)[:, :k]
                found = np.take_along_axis(wanted, ranked, axis=1).sum(axis=1)
                some = test.any(axis=1)
                expected = np.mean(found[some] / wanted.sum(axis=1)[some])
                assert forms[f"recall@{k} ({form})"] == pytest.approx(expected)

    def test_refuses_test_items_of_training(self):
        model = self.model(np.eye(3), [[0], [1], [2]])
        with pytest.raises(ValueError, match=r"1 of its 2 cells"):
            model.evaluate_forms(Ratings.from_arrays(["u0", "u1"], ["i0", "i2"], [1, 1]), "mrr")
