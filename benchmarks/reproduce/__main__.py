"""Reproduce a table or figure, or show how its parameters were chosen.

    python -m benchmarks.reproduce autorec-table1 --data ../shared/data/ml-1m
    python -m benchmarks.reproduce autorec-hidden-units --splits 1
    python -m benchmarks.reproduce autorec-table1 --validate --cases u-autorec --set epochs=300
    python -m benchmarks.reproduce render           # all results into docs/reproduction.md

Each split's result is kept as a file, and a run goes on from those that are there. `--validate`
fits on nine tenths of the training part and measures on the rest; it never looks at a test rating.
"""

from dataclasses import replace
from pathlib import Path

from benchmarks.common import RESULTS, data_folder, parse_settings, parser
from benchmarks.reproduce import report, runs
from benchmarks.reproduce.experiments import EXPERIMENTS


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("experiment", choices=[*EXPERIMENTS, "render"])
    p.add_argument("--data", type=Path, help="the data set's folder, by default its own")
    p.add_argument("--splits", type=int, default=5)
    p.add_argument("--cases", nargs="*", help="only these rows of the table")
    p.add_argument("--output", type=Path, default=RESULTS / "reproduce", help="of the results")
    p.add_argument("--validate", action="store_true", help="hold out a tenth of the training part")
    p.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="with --validate")
    args = p.parse_args()
    if args.experiment == "render":
        report.render(args.output)
        return

    experiment = EXPERIMENTS[args.experiment]
    names = [case.name for case in experiment.cases]
    unknown = set(args.cases or ()) - set(names)
    if unknown:
        p.error(f"--cases must be some of {', '.join(names)}, but one is {min(unknown)}")
    if args.set and not args.validate:
        p.error("--set needs --validate: results are kept for the parameters in experiments.py")
    cases = [case for case in experiment.cases if args.cases is None or case.name in args.cases]
    folder = args.data or data_folder() / experiment.data
    experiment = replace(experiment, data=folder.resolve().name)
    if args.validate:
        for number in range(args.splits):
            for case in cases:
                changed = parse_settings(args.set)
                runs.validate(experiment, case, folder, number, args.threads, changed)
        return
    runs.run_all(experiment, cases, folder, args.output, args.splits, args.threads)
    print(f"\n{experiment.title}, {folder.name}, {experiment.split or 'random 90/10'}\n")
    print(report.table(experiment, args.output))


if __name__ == "__main__":
    main()
