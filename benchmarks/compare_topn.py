"""MultVAE, CDAE and EASE against PyTorch, RecBole, Cornac, irspack and implicit, in one run.

    pip install torch recbole cornac irspack implicit      # those that install are compared
    OPENBLAS_NUM_THREADS=1 python -m benchmarks.compare_topn             # as implicit wants it
    python -m benchmarks.compare_topn --data gowalla --only recbole --models CDAE --epochs 3

ml-1m by RecBole's protocol (benchmarks.topn_protocols), the first split, or gowalla's published
one; quality is NDCG@10 on its validation part, after as many epochs as are timed. Mult-VAE has one
recipe everywhere: 600-200-600 tanh, dropout .5, Adam at .001, batches of 500. CDAE has 64 units;
RecBole's is dense, over all items. An epoch of each in turn, so that a drift of the machine hits
all; Cornac's fit has no epochs to be driven one by one, and its epoch is the difference of two
fits.

Where other programs share the cores, --clock cpu counts the processor's seconds, of all threads,
instead of the clock's.

"evaluate" is scoring and ranking all users, with NDCG@10, by each library's own means: scores in
PyTorch and Cornac ranked by NumPy, as they rank nothing or a user at a time. irspack's evaluator is
timed with its own scores, and once more with scores that are there already. implicit has no model
of these; what is timed is its recommend, top 10 of all users by dot products of 200 factors.
"""

import importlib
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.common import load, parser, print_table, write_results
from benchmarks.topn_protocols import gowalla_parts, recbole_parts
from isthmus import CDAE, EASE, Epoch, MultVAE, Ratings, Recommender

SETTINGS: dict[str, Any] = {
    "hidden_units": (600,),
    "decoder_units": None,
    "latent_units": 200,
    "dropout": 0.5,
    "beta": 0.2,
    "annealing_steps": 200_000,
    "learning_rate": 0.001,
    "batch_size": 500,
    "random_state": 0,
}
REGULARIZATION = 800.0
CDAE_UNITS = 64
MOST_EPOCHS = 1000
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
clock: Callable[[], float] = time.perf_counter
Result = TypeVar("Result")


class Entry(NamedTuple):
    """One model of one library.

    Parameters
    ----------
    library, model : str
    run_epoch : callable
        Trains for an epoch, or in closed form, and returns the seconds.
    evaluate : callable
        Returns the seconds, and NDCG@10 or NaN.
    """

    library: str
    model: str
    run_epoch: Callable[[], float]
    evaluate: Callable[[], tuple[float, float]]


class Paced:
    """A model's fit in a thread of its own, which pauses after each epoch.

    What is timed is what the peers' epochs are: the first one's setting up and the users' encoding
    after the last are not in the median.
    """

    def __init__(self, model: MultVAE | CDAE, train: Ratings) -> None:
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._over = False
        self._thread = threading.Thread(target=self._fit, args=(model, train), daemon=True)
        self._thread.start()

    def _fit(self, model: MultVAE | CDAE, train: Ratings) -> None:
        self._go.acquire()
        try:
            model.fit(train, callbacks=[self._pause])
        finally:
            self._done.release()  # also where fit fails

    def _pause(self, _: Epoch) -> bool:
        self._done.release()
        self._go.acquire()
        return self._over

    def run_epoch(self) -> float:
        start = clock()
        self._go.release()
        self._done.acquire()
        return clock() - start

    def finish(self) -> None:
        """Let fit return; evaluation comes afterwards."""
        self._over = True
        self._go.release()
        self._thread.join()


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Seconds, and what the work gives."""
    start = clock()
    value = work()
    return clock() - start, value


def unit_matrix(ratings: Ratings) -> sparse.csr_matrix:
    """Ones, as the peers want them."""
    matrix = sparse.csr_matrix(ratings.to_matrix(), copy=True)
    matrix.data = np.ones_like(matrix.data, dtype=np.float32)
    return matrix


def isthmus_entries(train: Ratings, held_out: Ratings, threads: int) -> list[Entry]:
    vae = MultVAE(**SETTINGS, epochs=MOST_EPOCHS, num_threads=threads)
    cdae = CDAE(hidden_units=CDAE_UNITS, epochs=MOST_EPOCHS, random_state=0, num_threads=threads)
    ease = EASE(regularization=REGULARIZATION, num_threads=threads)

    def measure(model: Recommender) -> tuple[float, float]:
        return timed(lambda: model.evaluate(held_out, "ndcg@10")["ndcg@10"])

    def paced(model: MultVAE | CDAE) -> Entry:
        training = Paced(model, train)

        def evaluate() -> tuple[float, float]:
            training.finish()
            return measure(model)

        return Entry("isthmus", type(model).__name__, training.run_epoch, evaluate)

    return [
        paced(vae),
        paced(cdae),
        Entry("isthmus", "EASE", lambda: timed(lambda: ease.fit(train))[0], lambda: measure(ease)),
    ]


def torch_entries(train: Ratings, held_out: Ratings, threads: int) -> list[Entry]:
    from benchmarks.dense_vae import DenseVAE

    model = DenseVAE(train, SETTINGS, threads)
    measure = ndcg_by_hand(held_out)

    def evaluate() -> tuple[float, float]:
        return timed(lambda: measure(model.scores()))

    return [Entry("PyTorch", "Mult-VAE", lambda: timed(model.run_epoch)[0], evaluate)]


def ndcg_by_hand(held_out: Ratings) -> Callable[[NDArray[np.float32]], float]:
    """NDCG@10 of a matrix of scores, in NumPy."""
    wanted = held_out.to_matrix().toarray() != 0
    users = np.flatnonzero(wanted.any(axis=1))
    discount = 1 / np.log2(np.arange(2, 12))
    ideal = np.cumsum(discount)[np.minimum(wanted[users].sum(axis=1), 10) - 1]

    def measure(scores: NDArray[np.float32]) -> float:
        part = np.argpartition(-scores[users], 10, axis=1)[:, :10]
        order = np.argsort(-np.take_along_axis(scores[users], part, 1), axis=1, kind="stable")
        top = np.take_along_axis(part, order, 1)
        gain = np.take_along_axis(wanted[users], top, 1) @ discount
        return float((gain / ideal).mean())

    return measure


def irspack_entries(train: Ratings, held_out: Ratings, threads: int) -> list[Entry]:
    from irspack import DenseSLIMRecommender, Evaluator

    class Ready(DenseSLIMRecommender):
        """Scores that are there already, so that the evaluator alone is timed."""

        def get_score_block(self, begin: int, end: int) -> NDArray[np.float64]:
            return table[0][begin:end].copy()  # the evaluator overwrites those of seen items

    matrix = unit_matrix(train)
    evaluator = Evaluator(unit_matrix(held_out), cutoff=10, n_threads=threads)
    fitted: list[Any] = [None]
    table: list[NDArray[np.float64]] = []

    def fit() -> float:
        seconds, fitted[0] = timed(lambda: DenseSLIMRecommender(matrix, reg=REGULARIZATION).learn())
        return seconds

    def measure(model: Any) -> tuple[float, float]:
        return timed(lambda: float(evaluator.get_score(model)["ndcg"]))

    def measure_ready() -> tuple[float, float]:
        if not table:
            table.append(np.asarray(fitted[0].get_score(np.arange(matrix.shape[0]))))
        return measure(Ready(matrix, reg=REGULARIZATION))

    return [
        Entry("irspack", "EASE", fit, lambda: measure(fitted[0])),
        Entry("irspack", "EASE, scores ready", lambda: float("nan"), measure_ready),
    ]


def cornac_entries(train: Ratings, held_out: Ratings, threads: int) -> list[Entry]:
    import torch
    from cornac.data import Dataset
    from cornac.models import VAECF

    torch.set_num_threads(threads)
    users = np.repeat(np.arange(train.n_users), np.diff(train.indptr))
    triples = list(zip(users.tolist(), train.indices.tolist(), [1.0] * train.nnz, strict=True))
    data = Dataset.from_uir(triples)
    item_at = np.array([data.iid_map.get(item, -1) for item in range(train.n_items)])
    fitted: list[Any] = [None]

    def fit(epochs: int) -> float:
        start = clock()
        model = VAECF(
            k=200,
            autoencoder_structure=[600],
            act_fn="tanh",
            likelihood="mult",
            n_epochs=epochs,
            batch_size=500,
            learning_rate=0.001,
            beta=0.2,
            seed=0,
        )
        fitted[0] = model.fit(data)
        return clock() - start

    def run_epoch() -> float:
        return fit(2) - fit(1)

    def scores() -> NDArray[np.float32]:
        table = np.full((train.n_users, train.n_items), -np.inf, np.float32)
        for user in range(train.n_users):
            row = np.asarray(fitted[0].score(data.uid_map[user]))
            table[user] = np.where(item_at >= 0, row[item_at], -np.inf)
        table[train.to_matrix().toarray() != 0] = -np.inf
        return table

    measure = ndcg_by_hand(held_out)
    return [Entry("Cornac", "VAECF", run_epoch, lambda: timed(lambda: measure(scores())))]


def recbole_entries(train: Ratings, held_out: Ratings, threads: int) -> list[Entry]:
    from benchmarks.peer_recbole import prepare

    shared = {
        "metrics": ["NDCG"],
        "valid_metric": "NDCG@10",
        "train_batch_size": SETTINGS["batch_size"],
        "learning_rate": SETTINGS["learning_rate"],
    }
    vae = {
        "mlp_hidden_size": [600],
        "latent_dimension": 2 * SETTINGS["latent_units"],  # means and log-variances
        "dropout_prob": SETTINGS["dropout"],
        "anneal_cap": SETTINGS["beta"],
        "total_anneal_steps": SETTINGS["annealing_steps"],
    }

    def entry(name: str, settings: dict[str, Any]) -> Entry:
        parts = (train, held_out, held_out)
        recbole = prepare(name, parts, {**shared, **settings}, threads)
        epochs = iter(range(10**6))

        def measure() -> float:
            found = recbole.trainer.evaluate(
                recbole.validation, load_best_model=False, show_progress=False
            )
            return float(found["ndcg@10"])

        return Entry(
            "RecBole",
            name,
            lambda: timed(lambda: recbole.trainer._train_epoch(recbole.train, next(epochs)))[0],
            lambda: timed(measure),
        )

    return [entry("MultiVAE", vae), entry("CDAE", {"embedding_size": CDAE_UNITS})]


def implicit_entries(train: Ratings, held_out: Ratings, threads: int) -> list[Entry]:
    from implicit.als import AlternatingLeastSquares

    matrix = unit_matrix(train)
    model = AlternatingLeastSquares(factors=200, iterations=1, num_threads=threads, random_state=0)

    def fit() -> float:
        start = clock()
        model.fit(matrix, show_progress=False)
        return clock() - start

    def evaluate() -> tuple[float, float]:
        def recommend() -> float:
            model.recommend(np.arange(train.n_users), matrix, N=10)
            return float("nan")

        return timed(recommend)

    return [Entry("implicit", "ALS, 1 iteration", fit, evaluate)]


PEERS: dict[str, Callable[[Ratings, Ratings, int], list[Entry]]] = {
    "torch": torch_entries,
    "recbole": recbole_entries,
    "irspack": irspack_entries,
    "cornac": cornac_entries,
    "implicit": implicit_entries,
}


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--epochs", type=int, default=5, help="of each")
    p.add_argument("--clock", choices=list(CLOCKS), default="wall")
    p.add_argument("--data", choices=["ml-1m", "gowalla"], default="ml-1m")
    p.add_argument("--only", nargs="*", choices=list(PEERS), default=list(PEERS))
    p.add_argument("--models", nargs="*", help="by their names in the table, by default all")
    args = p.parse_args()
    global clock
    clock = CLOCKS[args.clock]
    if args.data == "ml-1m":
        train, held_out, _ = recbole_parts(load("ml-1m")[0], seed=0)
    else:
        train, held_out, _ = gowalla_parts()

    entries = isthmus_entries(train, held_out, args.threads)
    for name in args.only:
        try:
            importlib.import_module(name)
            entries += PEERS[name](train, held_out, args.threads)
        except ImportError as error:
            print(f"{name} is left out: {error}")
    if args.models is not None:
        entries = [entry for entry in entries if entry.model in args.models]
    seconds: list[list[float]] = [[] for _ in entries]
    ranked: list[list[tuple[float, float]]] = [[] for _ in entries]
    for _ in range(args.epochs):
        for entry, taken in zip(entries, seconds, strict=True):
            taken.append(entry.run_epoch())
    for _ in range(args.epochs):
        for entry, measured in zip(entries, ranked, strict=True):
            measured.append(entry.evaluate())
    rows = [
        (
            entry.library,
            entry.model,
            f"{statistics.median(taken):.3f}",
            f"{statistics.median(value[0] for value in measured):.3f}",
            f"{measured[-1][1]:.4f}",
        )
        for entry, taken, measured in zip(entries, seconds, ranked, strict=True)
    ]
    print(f"{train!r}, {args.threads} threads, {args.epochs} rounds in turn")
    print(f"medians by the {args.clock} clock")
    print_table(
        ("", "", "seconds an epoch (or to fit)", "seconds to evaluate all", "validation NDCG@10"),
        rows,
    )
    figures = [
        {"library": e.library, "model": e.model, "epochs": s, "evaluations": r}
        for e, s, r in zip(entries, seconds, ranked, strict=True)
    ]
    write_results(f"compare_topn_{args.data}", {"arguments": vars(args), "entries": figures})


if __name__ == "__main__":
    main()
