"""RecBole's MultiVAE and the same of isthmus's on one split of ml-1m, seed by seed.

    pip install recbole
    python -m benchmarks.mirror_recbole --seeds 0 1 2020      # 2020 is RecBole's default

Both have the settings that RecBole publishes for ml-1m (600 units, 64 of code, noise of .01, a rate
of .007, batches of 2,048 users) and stop by the validation MRR@10; nothing is chosen here. What is
shown is how far a seed moves the test figures, in the one and in the other.
"""

from typing import Any

from benchmarks.common import load, parser, print_table, write_results
from benchmarks.topn_protocols import METRICS, recbole_parts
from isthmus import MultVAE, Ratings

PATIENCE = 10
EPOCHS = 300
RATE = 0.007
BATCH = 2048

Parts = tuple[Ratings, Ratings, Ratings]


def run_isthmus(parts: Parts, seed: int, epochs: int, threads: int) -> dict[str, float]:
    """Test metrics of MultVAE."""
    train, validation, test = parts
    model = MultVAE(
        hidden_units=(600,),
        latent_units=64,
        code_noise=0.01,
        learning_rate=RATE,
        batch_size=BATCH,
        epochs=epochs,
        patience=PATIENCE,
        validation_metric="mrr@10",
        random_state=seed,
        num_threads=threads,
    ).fit(train, validation=validation)
    return model.evaluate(test, METRICS["recbole"], exclude=validation)


def run_recbole(parts: Parts, seed: int, epochs: int, threads: int) -> dict[str, float]:
    """Test metrics of MultiVAE."""
    from benchmarks.peer_recbole import prepare

    settings: dict[str, Any] = {
        "mlp_hidden_size": [600],
        "latent_dimension": 128,  # means and log-variances
        "learning_rate": RATE,
        "train_batch_size": BATCH,
        "epochs": epochs,
        "stopping_step": PATIENCE,
        "metrics": ["Recall", "MRR", "NDCG"],
        "valid_metric": "MRR@10",
    }
    recbole = prepare("MultiVAE", parts, settings, threads, seed)
    recbole.trainer.fit(recbole.train, recbole.validation, verbose=False, show_progress=False)
    found = recbole.trainer.evaluate(recbole.test, show_progress=False)
    return {metric: float(found[metric]) for metric in METRICS["recbole"]}


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2020])
    p.add_argument("--epochs", type=int, default=EPOCHS, help="at most")
    args = p.parse_args()
    parts = recbole_parts(load("ml-1m")[0], seed=0)
    rows, values = [], []
    for seed in args.seeds:
        for library, run in (("isthmus", run_isthmus), ("RecBole", run_recbole)):
            found = run(parts, seed, args.epochs, args.threads)
            values.append({"library": library, "seed": seed, **found})
            rows.append((library, seed, *(f"{found[m]:.4f}" for m in METRICS["recbole"])))
            print(*rows[-1], flush=True)
    print_table(("", "seed", *METRICS["recbole"]), rows)
    write_results("mirror_recbole", {"arguments": vars(args), "values": values})


if __name__ == "__main__":
    main()
