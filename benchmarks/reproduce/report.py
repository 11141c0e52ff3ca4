"""Tables and figures from stored results: for the terminal, and for docs/reproduction.md."""

import math
import statistics
from pathlib import Path
from typing import Any

from scipy import stats

from benchmarks.common import earlier_autorec, markdown_table
from benchmarks.reproduce.experiments import EXPERIMENTS, Case, Experiment
from benchmarks.reproduce.runs import Result, results_of
from isthmus import AutoRec, Blend
from isthmus._util.files import atomic_write

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reproduction.md"


def interval(values: list[float]) -> float:
    """Half the width of the 95 % confidence interval of the mean (Student's t); NaN for one."""
    if len(values) < 2:
        return math.nan
    quantile = float(stats.t.ppf(0.975, len(values) - 1))
    return quantile * statistics.stdev(values) / math.sqrt(len(values))


def table(experiment: Experiment, output: Path) -> str:
    """Published and measured error side by side, as Markdown."""
    header = (
        *(experiment.x or "model", "published", "isthmus", "splits"),
        *("seconds", "processor seconds", "parameters"),
    )
    results = [results_of(output, experiment, case) for case in experiment.cases]
    rows = map(_row, experiment.cases, results)
    return f"{markdown_table(header, rows)}{_total(results)}"


def _total(results: list[list[Result]]) -> str:
    """Return what all rows of a split take, if each has been run."""
    if len(results) < 2 or not all(results):
        return ""
    seconds = sum(_median(row, "seconds") for row in results)
    processor = sum(_median(row, "processor_seconds") for row in results)
    known = "" if math.isnan(processor) else f", {processor:,.0f} of a processor"
    return f"\n\nOne split of all rows takes {seconds:,.0f} seconds{known}."


def _median(results: list[Result], name: str) -> float:
    """Median over the splits that have the figure; NaN where none has."""
    known = [result[name] for result in results if name in result]
    return statistics.median(known) if known else math.nan


def _row(case: Case, results: list[Result]) -> tuple[str, ...]:
    parameters = _changed(case)
    if not results:
        return (case.label, case.published, "not run", "0", "", "", parameters)
    errors = [result["rmse"] for result in results]
    width = interval(errors)
    measured = f"{statistics.mean(errors):.4f}" + ("" if math.isnan(width) else f" ± {width:.4f}")
    seconds = f"{_median(results, 'seconds'):.0f}"
    processor = _median(results, "processor_seconds")
    work = "" if math.isnan(processor) else f"{processor:.0f}"
    return (case.label, case.published, measured, str(len(results)), seconds, work, parameters)


def _changed(case: Case) -> str:
    """Show what makes the model, or each model of a blend by what differs from its defaults."""
    model = case.model()
    if not isinstance(model, Blend):
        given = ", ".join(f"{name}={value!r}" for name, value in case.parameters.items())
        return f"`{case.make.__qualname__}({given})`"
    return "<br>".join(f"`{_shown(member)}`" for member in model.models)


def _shown(member: Any) -> str:
    """Return how to make a model, from AutoRec's earlier defaults where that is shorter."""
    texts = []
    for make in (type(member), earlier_autorec) if isinstance(member, AutoRec) else (type(member),):
        usual = {**make().get_params(), "random_state": member.random_state}
        changed = (f"{k}={v!r}" for k, v in member.get_params().items() if v != usual[k])
        texts.append(f"{make.__qualname__}({', '.join(changed)})")
    return min(texts, key=len)


def curve(experiment: Experiment, output: Path) -> list[tuple[float, float]]:
    """Return each measured case's number and mean RMSE, over the splits that all of them have.

    Splits differ by more than neighbours on a curve do, so that means over different ones mislead.
    """
    measured = {
        float(case.label): {r["split"]: r["rmse"] for r in results}
        for case in experiment.cases
        if (results := results_of(output, experiment, case))
    }
    shared = set.intersection(*map(set, measured.values())) if measured else set()
    if not shared:
        return []
    return [
        (x, statistics.mean(errors[split] for split in sorted(shared)))
        for x, errors in measured.items()
    ]


def plot(name: str, experiment: Experiment, output: Path, path: Path) -> bool:
    """Draw the mean RMSE over the cases' numbers as SVG, if there is any."""
    points = curve(experiment, output)
    if not points:
        return False
    try:
        from matplotlib import pyplot
    except ImportError:
        raise SystemExit("a figure needs matplotlib: pip install '.[plot]'") from None
    pyplot.rcParams["svg.hashsalt"] = name  # the same file from the same figures
    figure, axes = pyplot.subplots(figsize=(6, 3.5), layout="constrained")
    axes.plot(*zip(*points, strict=True), marker="o")
    axes.set(xlabel=experiment.x, ylabel="test RMSE")
    axes.grid(visible=True)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    return True


def render(output: Path) -> None:
    """Put each experiment's table between its marks in the page, and draw the figures."""
    text = PAGE.read_text(encoding="utf-8")
    for name, experiment in EXPERIMENTS.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{PAGE} has no place for {name}: {begin.strip()} ... {end}")
        content = table(experiment, output)
        figure = PAGE.with_name(f"{name}.svg")
        if experiment.x is not None and plot(name, experiment, output, figure):
            content += f"\n\n![{experiment.title}]({figure.name})"
        text = f"{before}{begin}\n{content}\n\n{end}{after}"
    with atomic_write(PAGE) as temporary:
        temporary.write_text(text, encoding="utf-8")
