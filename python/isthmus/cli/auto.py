"""`isthmus auto`."""

from pathlib import Path
from typing import Annotated

import typer

from isthmus.automatic.budget import Budget
from isthmus.automatic.fit import run
from isthmus.cli._data import (
    check_output,
    describe,
    format_metrics,
    preparing_options,
    read_prepared,
    read_titles,
    reading_options,
)
from isthmus.cli._options import command_with, file_argument
from isthmus.cli.predict import Threads
from isthmus.datasets import NAMES
from isthmus.reporting import write_report
from isthmus.reporting._svg import require_plot

__all__ = ["register"]

REPORT_SECONDS = 30.0
"""Kept for a report, or a quarter of the time if that is less: better a late report than a worse
model."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command(cls=command_with(reading_options, preparing_options))(auto)


def auto(
    context: typer.Context,
    ratings: Annotated[
        Path,
        file_argument(
            "RATINGS", f"File of ratings, or the name of a data set: {', '.join(NAMES)}."
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the model.")],
    minutes: Annotated[
        float,
        typer.Option(
            help="Time for everything, at most; a report that takes more than a quarter of it "
            "comes late.",
            min=0.05,
        ),
    ] = 5.0,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Where to write a report, an HTML page. A tenth of the ratings is held out for "
            "it, which the model that is written has not seen."
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(
            help="File with the items' titles for the report, such as movies.csv, or a data set's "
            "name."
        ),
    ] = None,
    trials: Annotated[int, typer.Option(help="Fits at most.", min=1)] = 100,
    random_state: Annotated[
        int, typer.Option(help="Seed of what is held out, the search and the models.", min=0)
    ] = 0,
    num_threads: Threads = 0,
) -> None:
    """Find a good model for a file of ratings within some minutes, and write it to a file.

    With --implicit or --threshold, or where all values are alike or look like counts, the model
    learns who had what; otherwise, it predicts ratings. Ctrl-C ends the search early, and the best
    model until then is written; a second one ends the program.

    `isthmus auto ratings.csv --minutes 5 --output model.safetensors --report report.html`
    """
    if items is not None and report is None:
        raise typer.BadParameter("--items must come with --report, which shows the titles.")
    budget = Budget(60 * minutes)
    check_output(output, ratings, items)
    if report is not None:
        check_output(report, ratings, output, items, option="--report")
        require_plot()
    everything = read_prepared(ratings, *context.obj)
    print(f"{ratings}: {describe(everything)}", flush=True)
    found = run(
        everything,
        budget,
        hold_out_test=report is not None,
        trials=trials,
        random_state=random_state,
        num_threads=num_threads,
        closing=0.0 if report is None else min(REPORT_SECONDS, budget.seconds / 4),
        say=lambda line: print(line, flush=True),
    )
    if found.test is not None:
        print(f"test {format_metrics(found.model.evaluate(found.test))}", flush=True)
    found.model.save(output)
    print(f"wrote {output} ({output.stat().st_size / 1e6:.1f} MB)", flush=True)
    if report is not None:
        titles = None if items is None else read_titles(items, found.model.item_ids_)
        write_report(
            found.model,
            report,
            test=found.test,
            train=found.train,
            items=titles,
            notes=[found.summary()],
        )
        print(f"wrote {report} ({report.stat().st_size / 1e6:.1f} MB)", flush=True)
    print(f"{budget.spent / 60:.1f} of {minutes:g} minutes")
