"""`isthmus train`."""

import enum
import inspect
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from isthmus.cli._data import (
    check_output,
    describe,
    format_metrics,
    preparing_options,
    read_content,
    read_prepared,
    reading_options,
    refuse_values_of_one,
    with_ids_like,
)
from isthmus.cli._options import Source, command_with, file_argument
from isthmus.cli._ranks import Job
from isthmus.cli.predict import Metrics
from isthmus.data.io import check_format, write_ratings
from isthmus.data.ratings import Ratings
from isthmus.data.shards import Shards, is_shards
from isthmus.data.splits import train_test_split
from isthmus.datasets import NAMES
from isthmus.evaluation.evaluate import ERRORS, error_of
from isthmus.metrics import bias_baseline
from isthmus.models.base import Recommender
from isthmus.models.blend import Blend

__all__ = ["register"]

DEFAULT_MODEL = "autorec"


class SplitBy(str, enum.Enum):
    """What `train_test_split` may split by."""

    rating = "rating"
    user = "user"
    time = "time"
    user_time = "user_time"


def name_of(model: type[Recommender]) -> str:
    """Write a class's name as an option: DualAutoRec as dual-autorec."""
    return re.sub(r"(?<=[a-z])(?=[A-Z]{2}|AutoRec)", "-", model.__name__).lower()


MODELS = {
    name_of(model): model
    for model in Recommender._models.values()
    # a blend is made of models, which are no options
    if model.__module__.startswith("isthmus.") and model is not Blend
}


def _check_model(name: str) -> str:
    if name.lower() not in MODELS:
        raise typer.BadParameter(f"it must be one of {', '.join(MODELS)}, but it was {name!r}.")
    return name.lower()


def model_options(args: list[str]) -> Source:
    """Return the options of the model that the arguments name: what its constructor takes."""
    name = DEFAULT_MODEL
    for flag, value in zip(args, [*args[1:], ""], strict=True):
        if flag == "--model":
            name = value
        elif flag.startswith("--model="):
            name = flag.removeprefix("--model=")
    # where the name is unknown, --model itself says so
    model = MODELS.get(name.lower(), MODELS[DEFAULT_MODEL])
    return Source(
        f"Options of {model.__name__}", model.__init__, model.__doc__ or "", skip=("verbose",)
    )


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=command_with(reading_options, preparing_options, model_options))(train)


def train(
    context: typer.Context,
    ratings: Annotated[
        Path,
        file_argument(
            "RATINGS",
            f"File of ratings, folder of shards, or the name of a data set: {', '.join(NAMES)}.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the model.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            callback=_check_model,
            help=f"What to train: {', '.join(MODELS)}. Its own options are below.",
        ),
    ] = DEFAULT_MODEL,
    test_size: Annotated[
        float | None,
        typer.Option(
            help="Hold out this share of the ratings, or this number of them if it is 1 or more, "
            "and test on them.",
        ),
    ] = None,
    metrics: Metrics = None,
    split: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            metavar="TRAIN TEST",
            help="Write the ratings that are trained on and those that are held out to two files: "
            ".csv, .tsv, .parquet or .npz.",
        ),
    ] = None,
    split_seed: Annotated[int, typer.Option(help="Seed of what is held out.", min=0)] = 0,
    split_by: Annotated[
        SplitBy,
        typer.Option(
            help="Hold out ratings drawn from all, ratings drawn from each user's, the latest "
            "ratings of all, or the latest of each user."
        ),
    ] = SplitBy.rating,
    validation: Annotated[
        Path | None,
        typer.Option(help="File of ratings to measure the model on after each epoch."),
    ] = None,
    content: Annotated[
        Path | None,
        typer.Option(
            help="What is known of the items, for models that take it: a sparse matrix of SciPy's "
            "(.npz) whose row n is about the item with the id n, or a Parquet file with the "
            "columns item and tokens, lists of strings.",
        ),
    ] = None,
    scratch: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Where to put temporary files, up to 16 bytes a rating, of shards, which are "
            "trained on without reading them into memory; by default in their own folder.",
            show_default=False,
        ),
    ] = None,
    progress: Annotated[
        bool | None,
        typer.Option(
            "--progress/--no-progress",
            help="Whether to show a progress bar; by default on a terminal.",
            show_default=False,
        ),
    ] = None,
    mpi: Annotated[
        bool,
        typer.Option(
            "--mpi",
            help="Train with the other processes that mpiexec started: mpiexec -n 8 python -m "
            "mpi4py -m isthmus train shards/ --mpi -o model.safetensors. Rank 0 writes the model.",
        ),
    ] = False,
    slices: Annotated[
        int | None,
        typer.Option(
            help="Sum over so many fixed slices, for the same bits on any number of ranks that "
            "divides it.",
            min=1,
        ),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Folder to save the training in as it goes, which all ranks see."),
    ] = None,
    every: Annotated[
        str,
        typer.Option(
            metavar="EPOCHS|TIME",
            help="Epochs from one checkpoint to the next, or a time, as 90s, 10min or 2h.",
        ),
    ] = "1",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint, if there is one.")
    ] = False,
) -> None:
    """Train a model on a file of ratings and write it to a file.

    `isthmus train ratings.csv --test-size 0.1 --output model.safetensors`
    """
    job = Job.of(
        MODELS[model], mpi=mpi, checkpoint=checkpoint, slices=slices, every=every, resume=resume
    )
    traceback = context.find_root().params["traceback"]
    with job.failing_together(traceback=traceback):
        _train(
            *(job, context.obj, ratings, output, model, test_size, metrics, split),
            *(split_seed, split_by, validation, content, scratch, progress),
        )


def _train(
    job: Job,
    options: Any,
    ratings: Path,
    output: Path | None,
    model: str,
    test_size: float | None,
    metrics: Any,
    split: tuple[Path, Path] | None,
    split_seed: int,
    split_by: SplitBy,
    validation: Path | None,
    content: Path | None,
    scratch: Path | None,
    progress: bool | None,
) -> None:
    if split is not None and test_size is None:
        raise typer.BadParameter("--split must come with --test-size, which says what to hold out.")
    if output is None and test_size is None:
        raise typer.BadParameter("there must be --output, --test-size, or both.")
    if content is not None and not _takes_content(MODELS[model]):
        names = ", ".join(name for name, kind in MODELS.items() if _takes_content(kind))
        raise typer.BadParameter(f"--content goes with --model {names}, but the model is {model}.")
    if metrics is not None and test_size is None:
        raise typer.BadParameter("--metrics must come with --test-size, which holds out a test.")
    if scratch is not None and not is_shards(ratings):
        raise typer.BadParameter(f"--scratch must come with shards, but {ratings} holds none.")
    if scratch is not None and job.comm is not None:
        raise typer.BadParameter(
            "--scratch must not come with --mpi, --slices or --checkpoint: ranks read their shards "
            "into memory."
        )
    reading, preparing, parameters = options
    weighted = parameters.get("weights") is not None
    if weighted:
        refuse_values_of_one("--weights", reading, preparing)
    with job.reading():
        if output is not None:
            check_output(output, ratings, validation, content)
        for part in split or ():
            check_output(part, ratings, validation, content, option="--split")
            check_format(part)
        recommender = MODELS[model](**parameters)
        recommender._check_parameters()
        recommender._wanted_metrics(metrics, "--metrics")
        everything: Any = job.shards_at(ratings, {**reading, **preparing})
        if everything is None:
            everything = read_prepared(
                ratings, reading, preparing, counts=weighted, mmap=True, scratch=scratch
            )
        elif test_size is not None:
            raise ValueError("--test-size must not come with shards that ranks read.")
    job.say(f"{ratings}: {describe(everything)}")
    known, test = everything, None
    if test_size is not None:
        size = int(test_size) if test_size >= 1 and test_size == int(test_size) else test_size
        known, test = train_test_split(
            everything, test_size=size, random_state=split_seed, by=split_by.value
        )
        job.say(f"{test.nnz:,} of them are held out to test on")
        for written, path in zip((known, test), split or (), strict=False):
            if job.speaks:
                write_ratings(written, path)
            job.say(f"wrote {path} ({written.nnz:,} ratings)")
    held_out = None
    if validation is not None:
        with job.reading():
            held_out = read_prepared(validation, reading, preparing, counts=weighted)
            held_out = with_ids_like(held_out, everything.user_ids, everything.item_ids)
        job.say(f"{validation}: {describe(held_out)}")

    data = {}
    if content is not None:
        data["content"] = read_content(content, everything.item_ids)
        print(f"{content}: {data['content']!r}", flush=True)

    job.say(f"training {recommender!r}")
    recommender.set_params(verbose=sys.stderr.isatty() if progress is None else progress)
    recommender = job.fit(recommender, known, validation=held_out, **data)
    if recommender is None:
        return
    print(_training(recommender, known), flush=True)
    if test is not None:
        measured = recommender.evaluate(test, metrics)
        errors = [name for name in measured if error_of(name)]
        if errors:
            print(f"user and item biases alone: {_of_biases(known, test, errors)}")
        print(f"test {format_metrics(measured)}")
    if output is not None:
        recommender.set_params(verbose=False)  # whether progress was shown is no part of the model
        recommender.save(output)
        print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


def _training(model: Any, ratings: Ratings | Shards) -> str:
    """Return how training went."""
    epochs = getattr(model, "history_", [])
    if not epochs:
        return "trained in closed form"
    seconds = sum(epoch.seconds for epoch in epochs)
    line = (
        f"{len(epochs)} epochs in {seconds:.1f} s, "
        f"{len(epochs) * ratings.nnz / max(seconds, 1e-9) / 1e6:.2f} million ratings/s"
    )
    measured = [epoch for epoch in epochs if epoch.metrics]
    if measured:
        # the first metric is the one that early stopping watches
        name = next(iter(measured[0].metrics))
        choose = max if model._higher_is_better else min
        best = choose(measured, key=lambda epoch: epoch.metrics[name])
        shown = format_metrics({name: best.metrics[name]})
        line += f", best validation {shown} in epoch {best.index + 1}"
    return line


def _of_biases(train: Ratings, test: Ratings, names: list[str]) -> str:
    """Return the errors of biases alone, which any model must beat."""
    predicted = bias_baseline(train, test)
    return format_metrics({name: ERRORS[error_of(name)](test.values, predicted) for name in names})


def _takes_content(model: type[Recommender]) -> bool:
    return "content" in inspect.signature(model.fit).parameters
