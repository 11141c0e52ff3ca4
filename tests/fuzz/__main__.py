"""The command `python -m tests.fuzz`."""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

from .codec import loads
from .runner import SHARES, campaign, default_workers, replay, schedule


def main():
    """Run a campaign, or replay failures."""
    options = _parser().parse_args()
    if options.replay:
        return _replay(options.replay)
    kinds = options.kinds.split(",")
    if unknown := set(kinds) - set(SHARES):
        sys.exit(f"--kinds must be among {', '.join(SHARES)}, but {', '.join(unknown)} is not.")
    minutes = 1.0 if options.minutes is None and options.inputs is None else options.minutes
    print(f"seed {options.seed}, {options.workers} workers")
    started = time.monotonic()
    counts, found = campaign(
        schedule(options.seed, {kind: SHARES[kind] for kind in kinds}, options.inputs),
        minutes=minutes,
        workers=options.workers,
        failures=options.failures,
        report=_progress(started) if sys.stderr.isatty() else None,
    )
    seconds = time.monotonic() - started
    print(table(counts, seconds))
    for key, entry in sorted(found.items(), key=lambda pair: -pair[1]["count"]):
        print(f"\n{entry['count']} x {key}\n  {entry['report'].strip()[-700:]}")
        for path in entry["files"][:1]:
            print(f"  python -m tests.fuzz --replay {path}")
    if options.json:
        summary = {kind: {label: n for (k, label), n in sorted(counts.items()) if k == kind}
                   for kind in kinds}  # fmt: skip
        about = {"seed": options.seed, "seconds": round(seconds), "counts": summary}
        about["failures"] = {key: entry["count"] for key, entry in found.items()}
        options.json.write_text(json.dumps(about, indent=1) + "\n")
    return 1 if found else 0


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    add = parser.add_argument
    add("--minutes", type=float, help="how long to go on; 1 by default")
    add("--inputs", type=int, help="how many inputs to check, by shares of their kinds")
    add("--seed", type=int, default=0, help="another gives other inputs; %(default)s by default")
    add("--kinds", default=",".join(SHARES), help="kinds of inputs, by default all: %(default)s")
    add("--workers", type=int, default=default_workers(), help="by default one a CPU")
    add("--failures", type=Path, default=Path("build/fuzz-failures"), help="where failures go")
    add("--json", type=Path, help="a file for the counts")
    add("--replay", type=Path, nargs="+", help="saved failures to check again")
    return parser


def _replay(paths):
    cases = [loads(path.read_text()) for path in paths]
    failed = 0
    for path, outcome in zip(paths, replay(cases), strict=True):
        print(f"{path}: {outcome.failure or outcome.label}\n{outcome.report}".strip())
        failed += outcome.failure is not None
    return 1 if failed else 0


def _progress(started):
    shown = [0.0]

    def report(counts, found):
        now = time.monotonic() - started
        if now - shown[0] > 1:
            shown[0], n = now, sum(counts.values())
            text = f"\r{n:,} inputs, {n / now:,.0f} a second, {len(found)} kinds of failures"
            print(text, end="", file=sys.stderr)

    return report


def table(counts, seconds):
    """Return the counts by kind and outcome as a table."""
    lines = []
    for kind in dict.fromkeys(kind for kind, _ in counts):
        mine = Counter({label: n for (k, label), n in counts.items() if k == kind})
        lines.append(f"{kind:10}{sum(mine.values()):>10,}")
        lines += [f"  {label:42}{n:>10,}" for label, n in sorted(mine.items())]
    total = sum(counts.values())
    lines.append(f"{'total':10}{total:>10,} in {seconds:,.0f} s ({total / seconds:,.0f} a second)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
