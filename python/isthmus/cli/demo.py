"""`isthmus demo`."""

import sys
from typing import Annotated

import typer

from isthmus.cli._data import describe
from isthmus.cli.predict import Threads
from isthmus.cli.recommend import Recommended, print_table
from isthmus.data.splits import train_test_split
from isthmus.data.synthetic import Shape, synthetic_ratings
from isthmus.metrics import bias_baseline, mean_baseline, rmse
from isthmus.models.autorec import AutoRec

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(demo)


def demo(
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the ratings and a smaller model.")
    ] = False,
    random_state: Annotated[
        int, typer.Option(help="Seed of the ratings, the split and the model.")
    ] = 0,
    num_threads: Threads = 0,
) -> None:
    """Train I-AutoRec on made-up ratings and recommend from it; needs no file.

    The ratings have the size and the skew of MovieLens 1M's, and something to learn in them.
    """
    shape: Shape = "ml-100k" if quick else "ml-1m"
    print(f"making up ratings like those of {shape}", flush=True)
    ratings = synthetic_ratings(shape=shape, random_state=random_state)
    print(f"  {describe(ratings)}")
    train, test = train_test_split(ratings, test_size=0.1, random_state=random_state)
    model = AutoRec(random_state=random_state, num_threads=num_threads)
    if quick:
        model.set_params(hidden_units=(100,), epochs=20)
    print(f"training {model!r} on {train.nnz:,} of them", flush=True)
    model.set_params(verbose=sys.stderr.isatty()).fit(train)
    seconds = sum(epoch.seconds for epoch in model.history_)
    rate = len(model.history_) * train.nnz / seconds / 1e6
    print(f"  {len(model.history_)} epochs in {seconds:.1f} s, {rate:.2f} million ratings/s")

    print(f"RMSE on the other {test.nnz:,}")
    errors = {
        "mean of all ratings": rmse(test.values, mean_baseline(train, test)),
        "user and item biases": rmse(test.values, bias_baseline(train, test)),
        "I-AutoRec": model.evaluate(test)["rmse"],
    }
    for name, error in errors.items():
        print(f"  {name:<20}  {error:.4f}")

    user = ratings.user_ids[0]
    items, scores = model.recommend(user)
    print("recommendations")
    listed = zip(items.tolist(), scores.tolist(), strict=True)
    print_table(iter([(user.item(), [Recommended(i, s) for i, s in listed])]))
