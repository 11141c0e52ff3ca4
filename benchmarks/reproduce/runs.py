"""Fit a case to a split and keep the result, or find it kept from an earlier run."""

import json
from hashlib import sha256
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from benchmarks.common import load_folder, machine, published_split, write_json
from benchmarks.reproduce.experiments import Case, Experiment
from isthmus import Blend, Ratings, train_test_split

Result = dict[str, Any]


def make_split(experiment: Experiment, folder: Path, number: int) -> tuple[Ratings, Ratings]:
    """Training and test part of a split; a fixed one is the same whatever its number."""
    ratings, arrays = load_folder(folder)
    if experiment.split is not None:
        return published_split(ratings, arrays, arrays[experiment.split])
    return train_test_split(ratings, test_size=0.1, random_state=number)


def result_path(output: Path, experiment: Experiment, case: Case, number: int) -> Path:
    """Where a result is kept: by data, split and parameters, which tables may share."""
    parameters = json.dumps(_parameters(case)).encode()
    folder = f"{experiment.data}-{experiment.split or 'random'}"
    return output / folder / f"{sha256(parameters).hexdigest()[:16]}-{number}.json"


def run(experiment: Experiment, case: Case, folder: Path, number: int, threads: int) -> Result:
    """Fit on the training part, with the split's number for seed, and measure on the test part."""
    train, test = make_split(experiment, folder, number)
    model = case.model(random_state=number, num_threads=threads)
    start, processor_start = perf_counter(), process_time()
    model.fit(train)
    seconds, processor_seconds = perf_counter() - start, process_time() - processor_start
    return {
        "model": case.label,
        "split": number,
        "parameters": _parameters(case),
        **model.evaluate(test),
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "epochs": len(getattr(model, "history_", ())),
        "machine": machine(),
    }


def run_all(
    experiment: Experiment,
    cases: list[Case],
    folder: Path,
    output: Path,
    splits: int,
    threads: int,
) -> None:
    """Run what is not there yet, split by split, so that a part of the table is there early."""
    for number in range(splits):
        for case in cases:
            path = result_path(output, experiment, case, number)
            if path.exists():
                print(f"{case.name}, split {number}: kept from an earlier run", flush=True)
                continue
            result = run(experiment, case, folder, number, threads)
            write_json(path, result)
            print(
                f"{case.name}, split {number}: RMSE {result['rmse']:.4f}, "
                f"{result['seconds']:.0f} s, {result['processor_seconds']:.0f} processor seconds",
                flush=True,
            )


def results_of(output: Path, experiment: Experiment, case: Case) -> list[Result]:
    """What is there of a case, in order of the splits."""
    pattern = result_path(output, experiment, case, 0)
    paths = pattern.parent.glob(f"{pattern.stem[:-2]}-*.json")
    return sorted((json.loads(path.read_text()) for path in paths), key=lambda r: int(r["split"]))


def validate(
    experiment: Experiment,
    case: Case,
    folder: Path,
    number: int,
    threads: int,
    changed: dict[str, Any],
) -> None:
    """Show how a case fares on a tenth of the training part, epoch by epoch; no test rating."""
    train, _ = make_split(experiment, folder, number)
    train, held_out = train_test_split(train, test_size=0.1, random_state=number)
    model = case.model(**changed, random_state=number, num_threads=threads)
    if isinstance(model, Blend):  # it would fit its weights to what it is given
        measured = model.fit(train).evaluate(held_out)["rmse"]
        print(f"{case.name}: validation RMSE {measured:.4f}, weights {model.weights_.round(2)}")
        return
    model.fit(train, validation=held_out)
    errors = [epoch.metrics["rmse"] for epoch in model.history_]
    best = min(range(len(errors)), key=errors.__getitem__)
    course = " ".join(f"{error:.4f}" for error in errors[9::10])
    print(
        f"{case.name} {changed}: validation RMSE {errors[best]:.4f} in epoch {best + 1}, "
        f"{errors[-1]:.4f} in the last; every tenth: {course}",
        flush=True,
    )


def _parameters(case: Case) -> list[dict[str, str]]:
    """Every parameter of the model, or of each model of a blend, as text.

    What says how to run is none.
    """
    model = case.model()
    skipped = ("random_state", "num_threads", "verbose")
    return [
        {
            "model": type(member).__name__,
            **{k: str(v) for k, v in member.get_params().items() if k not in skipped},
        }
        for member in (model.models if isinstance(model, Blend) else [model])
    ]
