"""The builds of the core side by side: baseline, AVX2, AVX-512 and its bfloat16, in turn.

    python -m benchmarks.instruction_sets       # ml-1m, k = 500, Adam, batches of 256

An instruction set is chosen at import, so every turn is a process of its own. Needs an installation
with all builds (`pip install .`), not a developer's with one.
"""

import json
import os
import statistics
import subprocess
import sys

from benchmarks.common import load, median_ratio, parser, print_turns, write_results
from isthmus import AutoRec, _core


def epoch_seconds(optimizer: str, batch_size: int, threads: int) -> list[float]:
    """Of some epochs in this process, the first left out."""
    ratings, _ = load("ml-1m")
    rate = {"adam": 1e-3, "sgd": 1e-5}[optimizer]
    model = AutoRec(
        optimizer=optimizer,
        learning_rate=rate,
        batch_size=batch_size,
        epochs=5,
        num_threads=threads,
        random_state=0,
    ).fit(ratings)
    return [epoch.seconds for epoch in model.history_[1:]]


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    p.add_argument("--batch-size", type=int, default=256)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--turn", action="store_true", help="one turn, in this process")
    args = p.parse_args()
    if args.turn:
        print(json.dumps(epoch_seconds(args.optimizer, args.batch_size, args.threads)))
        return
    seconds: dict[str, list[float]] = {name: [] for name in _core.available()}
    if "baseline" not in seconds:
        p.error(f"this installation has {', '.join(seconds)} alone: pip install . builds all")
    for _ in range(args.rounds):
        for name, taken in seconds.items():
            turn = subprocess.run(
                [sys.executable, "-m", "benchmarks.instruction_sets", "--turn", *sys.argv[1:]],
                env={**os.environ, "ISTHMUS_ISA": name},
                check=True,
                capture_output=True,
                text=True,
            )
            taken.append(statistics.median(json.loads(turn.stdout)))
    print_turns(
        ("instruction set", "seconds an epoch (median)", "times the baseline's speed"),
        seconds,
        lambda taken: median_ratio(seconds["baseline"], taken),
    )
    write_results("instruction_sets", {"arguments": vars(args), "seconds": seconds})


if __name__ == "__main__":
    main()
