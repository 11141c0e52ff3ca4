"""Peak memory and time of the top-N models on gowalla: 29,858 users x 40,981 items.

    python -m benchmarks.memory_topn                      # 2 epochs of each, and EASE
    python -m benchmarks.memory_topn --models MultVAE --epochs 50

Each model is trained and tested in a process of its own, whose greatest resident memory is what is
reported: Python, the data and the evaluation included. The split is LightGCN's (recall@20 and
NDCG@20 on its test part, training and validation items left out); parameters are the models'
defaults, but for lambda 500 in EASE and the paper's decoder in MultVAE, so that the ranking metrics
say that it works and not how well it can.
"""

import argparse
import json
import resource
import subprocess
import sys
from time import perf_counter
from typing import Any

from benchmarks.common import parser, print_table, write_results
from benchmarks.select_topn import KINDS
from benchmarks.topn_protocols import gowalla_parts

METRICS = ("recall@20", "ndcg@20")
SAMPLED = "MultVAE, 2000 sampled items"
MODELS = [*KINDS, SAMPLED]
LIMIT = 8.0
"""GiB that every model should stay within."""


def run(name: str, epochs: int, threads: int) -> dict[str, Any]:
    """Train and test one model in this process."""
    train, validation, test = gowalla_parts()
    model = KINDS[name.partition(",")[0]](num_threads=threads)
    if "epochs" in model.get_params():
        model.set_params(epochs=epochs, random_state=0)
    if name == "EASE":
        model.set_params(regularization=500)
    if "decoder_units" in model.get_params():
        model.set_params(decoder_units=None)
    if name == SAMPLED:
        model.set_params(sampled_items=2000)
    start = perf_counter()
    model.fit(train)
    fitted = perf_counter()
    values = model.evaluate(test, METRICS, exclude=validation)
    return {
        "model": name,
        "fit": fitted - start,
        "evaluate": perf_counter() - fitted,
        "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        **values,
    }


def in_process(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.memory_topn", "--models", name, "--here"]
    command += ["--epochs", str(args.epochs), "--threads", str(args.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    """Run from the command line."""
    p = parser(__doc__)
    p.add_argument("--models", nargs="*", choices=MODELS, default=MODELS)
    p.add_argument("--epochs", type=int, default=2)
    p.add_argument("--here", action="store_true", help="in this process, printed as JSON")
    args = p.parse_args()
    if args.here:
        print(json.dumps(run(args.models[0], args.epochs, args.threads)))
        return
    rows, all_figures = [], []
    for name in args.models:
        figures = in_process(name, args)
        all_figures.append(figures)
        rows.append(
            (
                name,
                f"{figures['gib']:.2f}{'' if figures['gib'] <= LIMIT else ' (more than 8)'}",
                f"{figures['fit']:.1f}",
                f"{figures['evaluate']:.1f}",
                *(f"{figures[metric]:.4f}" for metric in METRICS),
            )
        )
        print(figures, flush=True)
    print_table(("", "peak GiB", "seconds to fit", "seconds to evaluate", *METRICS), rows)
    write_results("memory_topn", {"arguments": vars(args), "models": all_figures})


if __name__ == "__main__":
    main()
